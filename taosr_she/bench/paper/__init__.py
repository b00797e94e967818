"""The paper's comparison: every method, ablation and noise level, on every setting and seed, from one command.

`methods` lists what is compared; `settings` the data and seeds. `recipes` makes one recipe for each setting and seed,
whose stages run on all cores. `record` defines what is kept of a cell and `kept` reads it back. `results` collects
everything in one JSON file, with `curves` and `chains` for two of the tables. `page` and `plots` turn that file into
documentation. `command` is the command. `tuning` chooses learning rates and KL weights beforehand.
"""
