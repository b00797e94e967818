"""TaoSR-SHE: step-examined relevance.

Train a language model to judge whether a product answers a search query by reasoning in named steps, with a reward on
every step. Rooms, from the ground up (a room imports only rooms below it):

1. `domain` (labels, steps, rules, prompt, response) and `credit` (verdicts to advantages to loss)
2. `data` (pairs in and out, the market, teachers) and `model` (loading, sampling)
3. `examine` (who judges a step) and `evaluate` (metrics)
4. `train` (SFT, the step-credit loop)
5. `report` (one HTML page)
6. `recipe` (a run from one file), `commands` and `cli` (the command line)
"""

__version__ = "0.1.0"
