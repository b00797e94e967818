"""Training: `rl` is our own loop with credit on steps, `sft` supervised fine-tuning, `trl` what TRL's trainers do.

They share `state` (what survives a kill), `settings`, and `lengths`, which leaves out what is longer than the model's
positions.
"""
