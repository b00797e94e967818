"""A run from one file: stages wired together, fingerprinted, resumed where they stopped.

`config` is the recipe file, `stage` what a kind of stage is (`sampled_stage`: one that samples first). `stages/` holds
one file a kind, `recipes/` the shipped recipes. `plan` decides what must run, `run` runs it. `records` are what a
stage's folder says about itself, `lock` keeps a second process out, `resume` says where a stopped stage goes on;
`seeds` repeats a recipe over seeds. `track` shows metrics to a tracker, `run_log` keeps what the terminal said, `card`
writes the model card of a checkpoint, `table` is the table at the end. `context`, `data_folder`, `examination`,
`typed_pairs` and `progress` serve the stages.
"""
