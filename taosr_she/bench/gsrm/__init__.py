"""SFT's GSRM against GSRMs trained further by reinforcement learning, on the market, on held-out people.

`rows` has what is compared and the recipe of a seed, `results` pools the seeds, `command` runs what is missing, chooses
settings on the development seed and writes the table of the documentation.
"""
