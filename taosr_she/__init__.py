"""TaoSR-SHE: step-examined relevance.

Train a language model to judge whether a product answers a search query by reasoning in named steps, with a reward on
every step. docs/architecture.md shows the rooms (folders here), who may import whom, and what flows through them.
`cli` is the command line; `reference` makes docs/reference.md, the page of all options.
"""

__version__ = "0.1.0"
