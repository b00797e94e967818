"""Pairs in, judgements out: what the command `judge`, the evaluation and the Python interface share.

`judgement` is a model's answer for one pair, and its columns in a file. `decision` is the rule that derives the label
from text and probabilities, and the tier. `mode` names the two modes, with or without a response. `chains` makes one
answer of several responses to a pair. `pairs` makes judgements with a loaded policy, all at once or in parts. `load` is
the Python interface: `load_judge` returns a function from pairs to judgements. The subfolder `bulk` judges files of any
length. Nothing here knows what is right: human labels and verdicts on steps are added in `examine` and `evaluate`.
"""
