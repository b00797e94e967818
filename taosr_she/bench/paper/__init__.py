"""The paper's comparison: every method, ablation and noise level, on every setting and seed, from one command.

`methods` says what is compared, `settings` on which data and with which seeds, `recipes` makes one recipe of each
setting and seed, `cells` runs their stages in any order on all cores, `results` makes one JSON of what they wrote, and
`page` and `plots` make the documentation of that JSON. `tuning` chooses learning rates and KL weights beforehand.
"""
