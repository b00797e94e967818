"""What a shop decides: label scale, step schema, rule book, prompt, response format.

`domain` reads the YAML file, `pair` holds the two records that travel through the house, `fold` brings what people
write into one form, `prompt` turns a pair into text, `response` turns the model's text into steps and a label,
`conclusions` makes closed steps comparable, `annotation` is what a person said of a step, `malformed` the warning
when too few responses can be read, `spans` gives every generated token its step. Nothing here knows a model or a
trainer.
"""
