"""Training on one device.

`sft` fine-tunes on demonstrations (TRL's `SFTTrainer`, with `sft_log` as its metrics file; `lengths` leaves out what is
too long). `loop` is reinforcement learning with credit on steps: `settings` says what can be set, `batch` goes from
rollouts to advantages, `schedule` holds what follows from the update number, `metrics` and `rollout_log` what is
written down, `state` what survives a kill.
"""
