"""The language model: loading any Hugging Face causal LM, building the tiny one, sampling groups, probabilities.

`policy` is a model with its tokenizer, `tiny` builds one from the run's own text, `sampler` draws the rollouts of many
groups, `logprobs` scores given responses with gradient, `label_probs` gives the distribution over the label scale.
"""
