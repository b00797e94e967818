"""Which checkpoints of TRL's trainers can be resumed, also those of several processes."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from taosr_she.train.trl.checkpoints import divided_by, last_complete_checkpoint


def write(folder: Path, step: int, *more: str) -> Path:
    """A checkpoint of two processes, without its weights."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    for name in ("scheduler.pt", "rng_state_0.pth", "rng_state_1.pth", *more):
        torch.save({"some": torch.ones(2)}, checkpoint / name)
    (checkpoint / "trainer_state.json").write_text('{"global_step": 1}')
    return checkpoint


def test_of_processes_that_have_the_whole_model(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, 4, "optimizer.pt")
    assert last_complete_checkpoint(tmp_path) is None
    save_file({"weight": torch.zeros(3)}, checkpoint / "model.safetensors")
    assert last_complete_checkpoint(tmp_path) == checkpoint and divided_by(checkpoint) == ""
    (checkpoint / "rng_state_1.pth").write_bytes(b"")
    assert last_complete_checkpoint(tmp_path) is None


def test_of_processes_that_divide_it(tmp_path: Path) -> None:
    whole = write(tmp_path, 4)
    for name in ("optimizer_0", "pytorch_model_fsdp_0"):
        assert last_complete_checkpoint(tmp_path) is None
        (whole / name).mkdir()
        (whole / name / ".metadata").write_bytes(b"some")
    assert last_complete_checkpoint(tmp_path) == whole and divided_by(whole) == "fsdp"
    deepspeed = write(tmp_path, 5)
    (deepspeed / "latest").write_text("global_step5")
    assert last_complete_checkpoint(tmp_path) == deepspeed and divided_by(deepspeed) == "deepspeed"
