"""TRL's trainers on our data: `sft` on demonstrations, `dpo` on preferences, `scalar_reward_model`.

`trainer` holds what they share (settings, arguments, the run), `log` their metrics file, `preferences` the examples of
the last two; `lengths` leaves out what is longer than the model's positions.
"""
