"""The language model: loading any Hugging Face causal LM, building the tiny embedded one, sampling and scoring.

`policy` holds model and tokenizer together and turns pairs into token ids (`chat` through a chat template),
`domain_file` keeps beside the weights which domain they were trained for, `tiny` builds a small model and its
tokenizer from the run's own text. What cannot be used is refused before the work: `folder` looks at files, `loading`
at what libraries make of them, `carries` at what a tokenizer loses, `batches` at architectures whose rows do not go
together.

`names` knows the pretrained models that have a name here, `fetch` brings them, `gguf_head` reads what a GGUF file says
of itself, `gguf_import` makes a model folder of it.

`lora` holds the settings of low-rank adapters; `adapter` adds them, switches them off and merges them. `sampler`
generates groups of rollouts as `sampling` says, `responses` reads their steps and spans, `label_probs` the label
distribution, `example` is one text to train on with what is learnt of it, `taught` one that teaches some steps. What
happens to tokens stands in the room `engine`.
"""
