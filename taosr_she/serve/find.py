"""From the MODEL of the command line to what is loaded: the name of a run stands for its last checkpoint."""

from pathlib import Path
from typing import NamedTuple

from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object
from taosr_she.base.strict_yaml import read_yaml
from taosr_she.model.names import BOXED, check_available

RUNS = Path("runs")
"""Folder of the runs, as for `taosr-she run`."""
EXAMINERS = ("gsrm", "gsrm_rl", "scalar_reward_model")
"""Kinds of stage whose checkpoint examines responses and judges no pairs."""


class Found(NamedTuple):
    """A model to load, and its name for clients."""

    source: str  # folder, short name or hub name, for `load_judge`
    name: str


def find_model(model: str) -> Found:
    """Where a model is: a short name of ours, a folder, the name or folder of a run, or `owner/name` on the hub.

    Raises UserError for anything else, in one line.
    """
    check_available(model)
    if model in BOXED:
        return Found(model, model)
    folder = Path(model)
    run = folder if (folder / "stages").is_dir() else RUNS / model
    if model.strip() and (run / "stages").is_dir():
        return Found(str(_last_checkpoint(run)), run.resolve().name)
    if model.strip() and folder.is_dir():
        place = folder.resolve()
        return Found(model, place.parent.name if place.name in ("checkpoint", "merged") else place.name)
    if model.count("/") == 1 and all(model.split("/")) and not model.startswith("."):
        return Found(model, model)
    raise UserError(
        f"model {model}: neither a folder, nor a run in {RUNS}/, nor a known name ({', '.join(BOXED)}), nor owner/name "
        "on the Hugging Face hub"
    )


def _last_checkpoint(run: Path) -> Path:
    """The checkpoint of the last stage of a run that is finished and judges pairs."""
    recipe = run / "recipe.yaml"
    raw = read_yaml(recipe, str(recipe))
    stages = raw.get("stages") if isinstance(raw, dict) else None
    names = list(stages) if isinstance(stages, dict) else []
    for name in reversed(names):
        folder = run / "stages" / str(name)
        done = read_object(folder / "stage.json")
        if done and done.get("kind") not in EXAMINERS and (folder / "checkpoint").is_dir():
            return folder / "checkpoint"
    raise UserError(f"run {run}: no finished stage has a checkpoint that judges pairs; finish it with `taosr-she run`")
