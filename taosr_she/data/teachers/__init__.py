"""Teachers write the stepwise demonstrations for supervised fine-tuning, for pairs of real shops.

`lexical` compares words and needs only the pair; `words` splits text for it. `catalogue` writes typed steps from
people's annotations of the queries and from the catalogue (see `data/catalogue`). `label` writes only the label. `llm`
asks a language model behind an OpenAI-compatible endpoint (the room `endpoint`) and keeps the answers that agree with
people. `llm_config` has its settings, `llm_prompt` its prompt. The market has a teacher of its own, in `market`.
"""
