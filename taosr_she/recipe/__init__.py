"""A run from one file: stages wired together, fingerprinted, resumed where they stopped.

`config` is the recipe file, `stage` defines a kind of stage (`sampled_stage`: one that samples first). `stages/` has
one file per kind, `recipes/` the shipped recipes. `plan` decides what must run, `run` runs it. `records` are the
records in a stage's folder, `lock` keeps a second process out, `resume` reports where a stopped stage continues,
`seeds` repeats a recipe over seeds. `track` sends metrics to a tracker, `run_log` saves the terminal output, `card`
writes the model card of a checkpoint, `table` is the table at the end. `attempts` (at a training that can fail),
`context`, `data_folder`, `examination`, `online` (people who are asked during a training), `parts` (what a model says,
kept while it is written), `teaching`, `typed_pairs` and `progress` serve the stages.
"""
