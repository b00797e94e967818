"""Measures the quality of a model, and the uncertainty of that measurement.

`prediction` is one answer to one pair, with its verdicts. `run` gets predictions from a model, `baselines` from models
without reasoning, two of which are in `minilm` (to add one: docs/extending.md). `metrics` turns predictions into
numbers, `slices` does so for every tag. `labels` compares the distributions of predicted and true labels. `people`
scores human raters like models. `choice` chooses the decision rule of a model's labels, `tiers` measures tiers in place
of grades. `intervals` gives confidence intervals: bootstrap over queries, paired comparison of two models, spread over
training seeds. `results` collects everything for the report. `robustness` perturbs pairs without changing the right
answer. `examiners` measures examiners instead of models.
"""
