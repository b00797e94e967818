"""One file per kind of stage: a class with its settings, its inputs, its outputs, and its run.

Data: `market`, `pairs`, `select`. A model as it is: `model`. Training: `sft`, `label_sft` (no reasoning),
`rejection`, `dpo`, `rl`, `distil`, `gsrm`, `gsrm_rl`, `scalar_reward_model`. Measuring: `evaluate`. To add a kind,
write one file and add one line to KINDS; a recipe names a kind outside this package by import path (docs/extending.md).
"""

import inspect

from taosr_she.base.import_path import import_named, is_import_path
from taosr_she.recipe.stage import Stage
from taosr_she.recipe.stages.distil import DistilStage
from taosr_she.recipe.stages.dpo import DPOStage
from taosr_she.recipe.stages.evaluate import EvaluateStage
from taosr_she.recipe.stages.gsrm import GSRMStage
from taosr_she.recipe.stages.gsrm_rl import GSRMRLStage
from taosr_she.recipe.stages.label_sft import LabelSFTStage
from taosr_she.recipe.stages.market import MarketStage
from taosr_she.recipe.stages.model import ModelStage
from taosr_she.recipe.stages.pairs import PairsStage
from taosr_she.recipe.stages.rejection import RejectionStage
from taosr_she.recipe.stages.rl import RLStage
from taosr_she.recipe.stages.scalar_reward_model import ScalarRewardModelStage
from taosr_she.recipe.stages.select import SelectStage
from taosr_she.recipe.stages.sft import SFTStage

KINDS: dict[str, type[Stage]] = {
    "market": MarketStage,
    "pairs": PairsStage,
    "model": ModelStage,
    "sft": SFTStage,
    "select": SelectStage,
    "label_sft": LabelSFTStage,
    "rejection": RejectionStage,
    "dpo": DPOStage,
    "scalar_reward_model": ScalarRewardModelStage,
    "gsrm": GSRMStage,
    "gsrm_rl": GSRMRLStage,
    "rl": RLStage,
    "distil": DistilStage,
    "evaluate": EvaluateStage,
}
"""Name of the kind -> its class."""

RENAMED = {"judge": "gsrm", "scalar": "scalar_reward_model"}
"""Former name of a kind -> its name now."""


def find_kind(name: object) -> type[Stage]:
    """The class of a kind in KINDS, or at an import path. Raises ValueError of one line for anything else."""
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    if isinstance(name, str) and name in RENAMED:
        raise ValueError(f"kind '{name}' is now called '{RENAMED[name]}': rename it")
    if not isinstance(name, str) or not is_import_path(name):
        raise ValueError(
            f"kind '{name}' is none of {', '.join(KINDS)}, and no import path such as my_package.my_stages:MyStage"
        )
    named = import_named(name)
    if not inspect.isclass(named) or not issubclass(named, Stage) or named.run is Stage.run:
        raise ValueError(f"{name}: expected a subclass of taosr_she.recipe.stage.Stage with a `run`")
    return named
