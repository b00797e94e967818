"""Distilling a label distribution into a student that gives the label alone.

`settings` has the options, `loss` the soft cross-entropy and its examples. The training itself is that of `train.sft`:
the same packed pass, order, optimizer, metrics and resuming.
"""
