"""The language model: loading any Hugging Face causal LM, building the tiny embedded one, sampling and scoring.

`policy` holds model and tokenizer together and turns pairs into token ids (`chat` through a chat template), `tiny`
builds a small model and its tokenizer from the run's own text. What cannot be used is refused before the work: `folder`
looks at files, `loading` at what libraries make of them, `carries` at what a tokenizer loses, `batches` at
architectures whose rows do not go together. `sampler` generates groups of rollouts (`cache` keeps their keys and
values, `draw` picks their tokens), `logprobs` recomputes the log-probabilities of given responses, `label_probs` reads
the label distribution.
"""
