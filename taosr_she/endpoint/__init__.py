"""One client for any OpenAI-compatible server. The LLM teacher and the reward model behind an endpoint both sit on it.

`settings` are the options of both. `asker` asks a list of questions until each has a usable answer, several at a time;
`client` is one request, `failures` what can become of it besides an answer, on `transport` (a POST that ends in time
and in size) and `reply` (what a body says); `retry` says how long to wait before the next try, `patience` when to give
up altogether, `budget` keeps the spend limit, `records` is the file that makes a killed run resume, and `chat` holds
what prompts share. Nothing here knows what is asked.
"""
