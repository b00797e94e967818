"""A run from one file: stages wired together, fingerprinted, resumed where they stopped.

`config` is the recipe file, `plan` decides what must run, `run` runs it, `stages/` holds one file a kind of stage,
`track` shows metrics to a tracker, `run_log` keeps what the terminal said, `card` writes the model card of a
checkpoint, `table` is the table at the end, `seeds` repeats a recipe over seeds, `recipes/` holds the shipped recipes.
"""
