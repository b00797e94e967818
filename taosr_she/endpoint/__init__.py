"""One client for any OpenAI-compatible server, used by the LLM teacher and by the reward model behind an endpoint.

`settings` has the options. `asker` asks a list of questions, several at a time, until each has a usable answer.
`client` makes one request, and `failures` lists how it can fail. `transport` sends it with limits on time and size, and
`reply` parses the body. `retry` computes the wait before the next try, `patience` decides when to give up, and `budget`
enforces the spending limit. `records` is the file from which a killed run resumes. `chat` has what all prompts share.
Nothing here depends on what is asked.
"""
