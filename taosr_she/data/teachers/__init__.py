"""Teachers write the stepwise demonstrations for supervised fine-tuning, for pairs of real shops.

`lexical` compares words and needs nothing but the pair; `words` is how it reads a text. `catalogue` writes typed steps
from what people read in queries and what the catalogue settles (the folder `data/catalogue`). `label` writes the label
alone. `llm` asks a language model behind an OpenAI-compatible endpoint (the room `endpoint`) and keeps what agrees with
people; `llm_config` has its settings, `llm_prompt` what it asks. The market's own teacher lives with the market.
"""
