"""Credit: how verdicts and outcomes become a per-token advantage, and the policy loss that uses it.

Pure tensor functions: no trainer, no tokenizer, no input or output. `config` has the options, `groups` the statistics
over the rollouts of one pair. `outcome`, `scalar`, `process`, `pivot`, `mask`, `token_penalty`, `min_form` and `srpo`
are one rule each; `rewards` is shared by two of them. `advantages` applies the chosen rule and expands step advantages
to tokens, `label_balance` gives rare labels more weight. `loss` is the clipped surrogate. `rules` lists all rules. To
add a rule, write one file and add one line to `rules.RULES`. A recipe names a rule outside this package by import path
(docs/extending.md).
"""
