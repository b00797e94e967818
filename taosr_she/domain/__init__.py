"""Everything that differs between shops: label scale, step schema, rule book, prompt, response format.

`domain` reads the YAML file. `pair` has the two records used everywhere: pair and annotation. `fold` normalises text.
`prompt` turns a pair into text, `response` turns the model's text into steps and a label. `conclusions` makes closed
steps comparable. `annotation` reads and writes people's annotations. `malformed` is the warning about unreadable
responses. `spans` assigns every generated token to a step. Nothing here knows a model or a trainer.
"""
