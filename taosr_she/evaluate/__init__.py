"""Measures the quality of a model, and the uncertainty of that measurement.

`prediction` is one answer to one pair, with its verdicts; `run` lets a model answer, `baselines` lets models without
reasoning answer, `minilm` holds two of them (to add one: docs/extending.md). `metrics` turns predictions into numbers,
`slices` does so for every tag, `labels` compares which labels are given with those that are true, `people` measures
people as if they were models. `choice` chooses the rule by which a model decides for a label.
`intervals` says how far the numbers can be trusted: bootstrap over queries, paired comparison of two models, spread
over training seeds. `results` gathers all of it for the report. `robustness` disturbs pairs without changing the right
answer; `examiners` measures examiners instead of models.
"""
