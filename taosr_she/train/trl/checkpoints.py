"""The checkpoints of TRL's trainers: which of them can be resumed."""

from pathlib import Path

from taosr_she.base.files import read_object

PARTS = {"": (), "fsdp": ("optimizer_0/.metadata", "pytorch_model_fsdp_0/.metadata"), "deepspeed": ("latest",)}
"""How processes divide a model -> files that are written when all of them have saved their part."""


def last_complete_checkpoint(trainer_folder: Path) -> Path | None:
    """The newest Trainer checkpoint that can be resumed, or None.

    The Trainer writes `trainer_state.json` last, so a checkpoint whose state is valid JSON was written completely. The
    other files must exist because a kill can also happen while an old checkpoint is being deleted. Their contents are
    checked because the Trainer does not sync them: a power cut leaves them empty or truncated.
    """
    found = [c for c in trainer_folder.glob("checkpoint-*") if c.is_dir() and c.name.split("-")[1].isdecimal()]
    newest_first = sorted(found, key=lambda c: int(c.name.split("-")[1]), reverse=True)
    return next((c for c in newest_first if _complete(c)), None)


def divided_by(checkpoint: Path) -> str:
    """`fsdp` or `deepspeed` if the checkpoint is of a model that its processes had divided so; else empty."""
    if (checkpoint / "latest").is_file():
        return "deepspeed"
    return "fsdp" if (checkpoint / "optimizer_0").is_dir() else ""


def _complete(checkpoint: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    from taosr_she.train.state import broken_archive

    by = divided_by(checkpoint)
    random = sorted(checkpoint.glob("rng_state*.pth"))  # one for each process
    weights = sorted(checkpoint.glob("*.safetensors"))
    archives = [*random, checkpoint / "scheduler.pt", *([] if by else [checkpoint / "optimizer.pt"])]
    if not random or not (by or weights):
        return False
    if not all(file.is_file() for file in (*archives, *(checkpoint / name for name in PARTS[by]))):
        return False
    if not read_object(checkpoint / "trainer_state.json") or any(broken_archive(file) for file in archives):
        return False
    try:
        for file in weights:
            safe_open(file, "pt")
    except SafetensorError:
        return False
    return True
