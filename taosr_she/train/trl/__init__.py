"""TRL's trainers on our data: `dpo` and `scalar_reward_model` on `preferences`.

`trainer` holds what they share with SFT by TRL (arguments, the run), `log` their metrics file.
"""
