"""The checkpoints of TRL's trainers: which of them can be resumed."""

from pathlib import Path

from taosr_she.base.files import read_object

DIVIDED = {"optimizer_0", "pytorch_model_fsdp_0", "latest"}
"""Files and folders by which FSDP and DeepSpeed (`latest`) save a divided model and its optimizer."""


def last_complete_checkpoint(trainer_folder: Path) -> Path | None:
    """The newest Trainer checkpoint that can be resumed, or None.

    The Trainer writes `trainer_state.json` last, so a checkpoint whose state is valid JSON was written completely. The
    other files must exist because a kill can also happen while an old checkpoint is being deleted. Their contents are
    checked because the Trainer does not sync them: a power cut leaves them empty or truncated.
    """
    found = [c for c in trainer_folder.glob("checkpoint-*") if c.is_dir() and c.name.split("-")[1].isdecimal()]
    newest_first = sorted(found, key=lambda c: int(c.name.split("-")[1]), reverse=True)
    return next((c for c in newest_first if _complete(c)), None)


def _complete(checkpoint: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    from taosr_she.train.state import broken_archive

    names = {f.name for f in checkpoint.iterdir()}
    random = [name for name in names if name.startswith("rng_state")]  # of each process
    divided = DIVIDED & names
    archives = ["scheduler.pt", *random, *([] if divided else ["optimizer.pt"])]
    if not random or not {"trainer_state.json", *archives} <= names:
        return False
    if not divided and not any(name.endswith(".safetensors") for name in names):
        return False
    if "optimizer_0" in names and not all((checkpoint / name / ".metadata").is_file() for name in DIVIDED - {"latest"}):
        return False
    if not read_object(checkpoint / "trainer_state.json") or any(
        broken_archive(checkpoint / name) for name in archives
    ):
        return False
    try:
        for weights in checkpoint.glob("*.safetensors"):
            safe_open(weights, "pt")
    except SafetensorError:
        return False
    return True
