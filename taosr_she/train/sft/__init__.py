"""Supervised fine-tuning: used by SFT, rejection sampling, labels alone, and the generative reward model.

`train` checks the input, resumes, and writes the checkpoint. `loop` is our own engine, `by_trl` TRL's trainer.
`settings` has the options, `order` the order of the examples, and `learnt` tells whether the labels were learnt.
"""
