"""Credit: how verdicts and outcomes become a per-token advantage, and the policy loss that uses it.

Pure tensor functions: no trainer, no tokenizer, no input or output. `config` holds the options, `groups` the statistics
over the rollouts of one pair. `outcome`, `scalar`, `process`, `pivot`, `mask`, `token_penalty`, `min_form` and `srpo`
are one rule each (`rewards` serves two of them); `advantages` chooses the rule and spreads step advantages over tokens,
`label_balance` makes rare labels count more, `loss` is the clipped surrogate. `rules` is the list of rules. To add a
rule: one file, and one line in `rules.RULES`; a rule outside of this package is named in the recipe by import path
(docs/extending.md).
"""
