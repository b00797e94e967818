"""A run from one file: stages wired together, fingerprinted, resumed where they stopped.

`config` is the recipe file, `plan` decides what must run, `run` runs it, `stages/` holds one file a kind of stage,
`seeds` repeats a recipe over seeds, `recipes/` holds the shipped recipes.
"""
