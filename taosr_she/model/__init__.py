"""The language model: loading any Hugging Face causal LM, building the tiny embedded one, sampling and scoring.

`policy` holds model and tokenizer together and turns pairs into token ids, `domain_file` keeps beside the weights which
domain they were trained for, `tiny` builds a small model and its
tokenizer from the run's own text. `sampler` generates groups of rollouts (`cache` keeps their keys and values, `draw`
picks their tokens), `logprobs` recomputes the log-probabilities of given responses, `label_probs` reads the label
distribution.
"""
