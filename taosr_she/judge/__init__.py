"""Pairs in, judgements out: what the command `judge`, the evaluation and the Python interface share.

`judgement` is what a model says of one pair, and its columns in a file; `decision` is the rule that reads the label off
text and probabilities. `pairs` makes judgements with a loaded policy,
in one go or in parts. `load` is the Python interface: `load_judge` gives a function from pairs to judgements. Nothing
here knows what is right: verdicts on steps and human labels come in above, in `examine` and `evaluate`.
"""
