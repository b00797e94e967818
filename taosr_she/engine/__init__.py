"""Tokens in, logits and log-probabilities out. Knows no text, no pair and no label, and imports no other room.

`runner` runs a forward pass with another attention (`attention`), including LoRA layers (`lora`). `fused` has its
formulas for a CPU, `compiled` those for a GPU. `logprobs` scores given responses. `shared_prefix` does the same but
runs every prompt only once: `packing` puts prompts and responses in one row, `ragged` handles unequal lengths, and
`two_part`, `flash_parts` and `masked` are the attention of such a row (`dense` has its formulas in bfloat16 on a CPU).
`labelled` scores chosen tokens of whole sequences, for fine-tuning. `decode` gives next-token logits for rows that
share prompts: `prefix_tree` finds shared prefixes, `kept` keeps one between batches (`behind` attends to it in a
packed row), `cache` has keys and values, `draw` samples tokens, and `recorded` decodes with CUDA graphs, with the
attention of `flash_step`. `threads` chooses the number of threads of small steps, `precision` chooses float32 or
bfloat16, and `speedups` lists the speed-ups in use.
"""
