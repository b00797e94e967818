"""Reinforcement learning with credit on steps, in plain PyTorch.

`loop` samples, examines, credits and updates. `settings` has its options, `batch` turns rollouts into advantages,
`refill` replaces groups without signal, `schedule` has everything that depends on the update number, `curriculum` the
stages of training. `metrics` and `rollout_log` are written during training. `watch` evaluates on development pairs,
`monitor` looks for reward hacking, and `collapse` for labels that the policy stops giving. `listener` is who is told
about every update, such as people who are asked during training. `start_check` stops a run whose first update does not
reach the sampler.
`taosr_she/train/state.py` lets a killed run resume.
"""
