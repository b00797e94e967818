"""TRL's trainers on our data: `dpo` and `scalar_reward_model` on `preferences`.

`trainer` has what they share with TRL's SFT (arguments, the run), `log` their metrics file, `checkpoints`
what can be resumed.
"""
