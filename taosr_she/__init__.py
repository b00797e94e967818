"""TaoSR-SHE: step-examined relevance.

Train a language model to judge whether a product answers a search query by reasoning in named steps, with a reward on
every step. From Python:

    from taosr_she import load_judge

    judge = load_judge("runs/demo/stages/srpo/checkpoint")
    print(judge({"query": "red boots", "title": "Norvik trail boots, red"}))

Rooms, from the ground up (a room imports only rooms below it):

1. `base` (errors, configs, files) and `engine` (tokens in, logits out)
2. `domain` (labels, steps, rules, prompt, response), `credit` (verdicts to advantages to loss), `endpoint` and `ranks`
   (one run in several processes)
3. `data` (pairs in and out, the market, teachers) and `model` (loading, sampling)
4. `judge` (pairs in, judgements out)
5. `examine` (finds the verdict of every step)
6. `evaluate` (metrics) and `select` (which pairs to train on)
7. `train` (the step-credit loop, SFT, DPO)
8. `report` (one HTML page) and `recipe` (a run from one file)
9. `bench` (measurements), `commands` and `cli` (the command line), `reference` (the page of all options)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taosr_she.domain.pair import Pair, Product
    from taosr_she.judge.judgement import Judgement
    from taosr_she.judge.load import Judge, load_judge

__version__ = "0.1.0"
__all__ = ["Judge", "Judgement", "Pair", "Product", "load_judge"]

_HOMES = {
    "Judge": "taosr_she.judge.load",
    "Judgement": "taosr_she.judge.judgement",
    "Pair": "taosr_she.domain.pair",
    "Product": "taosr_she.domain.pair",
    "load_judge": "taosr_she.judge.load",
}


def __getattr__(name: str) -> Any:
    """The public names are imported when they are asked for: `import taosr_she` alone must not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'taosr_she' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
