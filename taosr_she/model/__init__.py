"""The language model: loading any Hugging Face causal LM, building the tiny embedded one, sampling and scoring.

`policy` holds model and tokenizer together and turns pairs into token ids (`chat` through a chat template),
`domain_file` keeps beside the weights which domain they were trained for, `tiny` builds a small model and its tokenizer
from the run's own text. What cannot be used is refused before the work: `folder` looks at files, `loading` at what
libraries make of them, `carries` at what a tokenizer loses, `batches` at architectures whose rows do not go together.

`sampler` generates groups of rollouts (`decode` shares their prompts, `recorded` decodes by CUDA graphs, `cache` keeps
keys and values, `draw` picks tokens), `logprobs` recomputes the log-probabilities of given responses, `label_probs`
reads the label distribution. `runner` is the forward pass (`fused` and, in training on a GPU, `compiled` its formulas);
`shared_prefix` runs each prompt once (`packing`, `ragged`, `prefix_tree`; attention in `two_part`, `flash_parts`,
`masked`).
"""
