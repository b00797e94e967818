"""Speed, measured: our training step beside TRL's and plain transformers' on the same work, and how far from the limit.

`speed` is the table of the docs (`our_step` and `trl_step` are its sides, `work` what they do, `judge_speed` the rows
on judging and on growth), `sft_speed` that of fine-tuning, `parts` leaves out one speed-up after another, `profile`
says which operations take the time, `threads` which thread settings suit a machine, `device` compares with `plain_step`
on a GPU (`kernels` looks at what the GPU does). `machine` measures rates and memory, `results` writes tables. `paper/`
is the comparison of methods.
"""
