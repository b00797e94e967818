"""Examination: finding the verdict of every step of a rollout.

An examiner is anything with `examine(pairs, responses) -> Verdicts`; `verdicts` holds that contract.

People: `verifier` answers from annotations, which `store` (over `database`) keeps and `interchange` reads and writes
(`label_studio` and `stepwise` are two of its layouts; `people` reads tagged queries and rated pairs). `majority` says
what several people come to, `agreement` how well they agree. Reward models: `gsrm` is the generative one (settings in
`gsrm_config`, its form in `gsrm_prompt`, its training data in `gsrm_data` with the errors of `corruptions`),
`gsrm_endpoint` the same behind an OpenAI-compatible endpoint (its chat in `gsrm_chat`), `scalar` the baseline with one
number, `noisy` flips verdicts at a stated rate. `hybrid` puts people and a GSRM together, `foreign` holds an examiner
of somebody else's, named by import path, to the contract (docs/extending.md). `command` is what `taosr-she annotations`
does.
"""
