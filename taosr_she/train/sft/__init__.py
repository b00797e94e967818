"""Supervised fine-tuning: SFT, rejection sampling, labels alone, and the generative reward model train by this.

`train` checks, resumes and leaves a checkpoint behind; `loop` is our own engine, `by_trl` TRL's trainer. `settings`
says what can be set, `order` in which order examples come.
"""
