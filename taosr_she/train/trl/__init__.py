"""TRL's trainers on our data: `sft` on demonstrations, `dpo` on preferences, `scalar` for the scalar reward model.

`sft_log` and `preference_log` are their metrics files; `lengths` leaves out what is longer than the model's positions.
"""
