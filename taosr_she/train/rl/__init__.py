"""Reinforcement learning with credit on steps, in plain PyTorch.

`loop` samples, examines, credits and updates: `settings` says what can be set, `batch` goes from rollouts to
advantages, `refill` replaces groups without signal, `schedule` holds what follows from the update number, `curriculum`
the stages of a training. `metrics` and `rollout_log` are what is written down, `watch` answers development pairs on the
way, `monitor` looks for reward hacking, `collapse` for labels that are given up. What survives a kill is in
`taosr_she/train/state.py`.
"""
