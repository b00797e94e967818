"""One file a kind of stage: each has `run(context)`, which fills the stage's folder and nothing else.

Data: `market`, `pairs`, `select`. Training: `sft`, `label_sft` (no reasoning), `rejection`, `dpo`, `rl`, `judge`,
`scalar`. Measuring: `evaluate`.
"""
