"""Training: `rl` is our own loop with credit on steps, `sft` supervised fine-tuning, `distil` fine-tuning on a label
distribution, `trl` runs TRL's trainers on our data.

They share `state` (it lets a killed run resume), `settings`, and `lengths`, which leaves out examples with more tokens
than the model has positions.
"""
