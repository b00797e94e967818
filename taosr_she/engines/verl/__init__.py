"""A plug-in of verl (0.9): our credit in verl's trainer, for models and batches that need many machines.

verl samples, shards and updates. Ours is what happens between a response and its advantages: `agent_loop` asks for a
response, `examined` finds the verdicts of its steps, and `codes` writes them into the rewards of its tokens;
`advantage` reads them there and calls `credit`. `plugin` registers the estimator by the entry point `verl.plugins`;
`rows` writes pairs as verl's data; `settings` is our part of verl's configuration. `two_nodes.yaml` and `agents.yaml`
are an example of it.

verl's trainer gives an advantage estimator the rewards of tokens, the mask and the group of each row, and nothing else
(`compute_advantage` in verl/trainer/ppo/ray_trainer.py). So whatever credit needs travels in the rewards.
"""
