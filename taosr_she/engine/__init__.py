"""Tokens in, logits and log-probabilities out. Knows no text, no pair and no label, and imports no other room.

`runner` is one forward pass with another attention inside (`attention`), LoRA layers included (`lora`): `fused` holds
its formulas for a CPU, `compiled` those of training on a GPU. `logprobs` scores given responses; `shared_prefix` does
so with every prompt run once (`packing` lays prompts and responses in one row, `ragged` holds unequal lengths;
`two_part`, `flash_parts` and `masked` are the attention of such a row, `dense` its formulas in bfloat16 on a CPU).
`labelled` scores some tokens of whole sequences, as fine-tuning needs them. `decode` says what comes next for rows that
share prompts (`prefix_tree` finds what they share, `cache` keeps keys and values, `draw` picks tokens), `recorded`
decodes by CUDA graphs. `threads` chooses the threads of small steps, `precision` between float32 and bfloat16,
`speedups` says which of all this is in use.
"""
