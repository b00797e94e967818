"""Examination: finding the verdict of every step of a rollout.

An examiner is anything with `examine(pairs, responses) -> Verdicts`; `verdicts` defines this contract.

People: `verifier` answers from annotations. `store` (over `database`) keeps them, `interchange` reads and writes them
(`label_studio` and `stepwise` are two of its layouts; `people` reads annotated queries and rated pairs). `majority`
combines several people, `agreement` measures how well they agree.

Reward models: `gsrm` is the generative one (settings in `gsrm_config`, its form in `gsrm_prompt`, its training data in
`gsrm_data` with the errors of `corruptions`, its reward when it is trained by reinforcement learning in `gsrm_reward`,
its examples in a report in `gsrm_shown`). `gsrm_endpoint` is the same behind an OpenAI-compatible endpoint (its
chat in `gsrm_chat`), `scalar` the baseline with one number.

`noisy` flips verdicts at a given rate. `hybrid` combines people and a GSRM. `foreign` checks your own examiner, named
by import path, against the contract (docs/extending.md). `command` implements `taosr-she annotations`.
"""
