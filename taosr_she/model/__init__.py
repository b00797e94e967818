"""The language model: loading any Hugging Face causal LM, building the tiny embedded one, sampling and scoring.

`policy` combines model and tokenizer and turns pairs into token ids (`chat` through a chat template, `head` without
tokenising the rules again). `domain_file` saves the domain with the weights. `tiny` builds a small model and its
tokenizer from the run's own text. Unusable models are refused before the work starts: `folder` checks the files,
`loading` loads them, `carries` checks what a tokenizer loses, `batches` whether a model can run rows in a batch.

`names` lists the pretrained models that have a name here and `fetch` downloads them. `gguf_head` reads the header of a
GGUF file, `gguf_import` converts the file to a model folder.

`lora` has the settings of low-rank adapters; `adapter` adds them, switches them off and merges them. `sampler`
generates groups of rollouts with the settings of `sampling`. `responses` parses their steps and spans, `label_probs`
computes the label distribution. `example` is one training example as tokens, `taught` one that teaches only some steps.
Work on the level of tokens is in the room `engine`.
"""
