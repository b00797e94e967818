"""The paper's comparison: every method, ablation and noise level, on every setting and seed, from one command.

`methods` says what is compared, `settings` on which data and with which seeds, `recipes` makes one recipe of each
setting and seed, `cells` runs their stages in any order on all cores, `results` makes one JSON of what they wrote,
and `page` and `plots` make the documentation of that JSON. `record` is what is kept of a cell and `kept` finds it
again, `curves` and `chains` are two of its tables, `statistics` the tests between rows, `command` the command.
`tuning` chooses learning rates and KL weights beforehand.
"""
