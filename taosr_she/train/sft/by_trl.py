"""SFT with TRL's `SFTTrainer` as it is: the engine of the kept results, and for what our own does not do."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taosr_she.base.files import read_object
from taosr_she.model.example import Example
from taosr_she.train.sft.order import batch_order
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.trl.trainer import arguments, lent, recomputes, run

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


TRAINER = "trainer"
"""Folder of the trainer's checkpoints, in the folder of the stage."""


def train_by_trl(
    policy: "Policy",
    examples: Sequence[Example],
    settings: SFTSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None,
) -> None:
    """Train `policy.model` in place; writes the metrics and resumable checkpoints in `trainer/`."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from taosr_she.train.state import rows_lead_to
    from taosr_she.train.trl.log import StepLog

    trainer_folder = folder / TRAINER
    config = arguments(
        SFTConfig, "SFT", policy, settings, settings.total_steps(len(examples)), seed, trainer_folder,
        num_train_epochs=1,  # `batch_order` already contains all epochs
        train_sampling_strategy="sequential",
        gradient_accumulation_steps=settings.accumulate,
        lr_scheduler_type="constant_with_warmup" if settings.lr_schedule == "constant" else settings.lr_schedule,
        weight_decay=settings.weight_decay,
        gradient_checkpointing=recomputes(policy, settings.gradient_checkpointing),
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # token ids and labels are ready
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=1,
    )  # fmt: skip
    rows = {
        "input_ids": [e.ids for e in examples],
        "labels": [e.labels for e in examples],
    }
    order = batch_order([len(ids) for ids in rows["input_ids"]], settings, seed)
    resume = last_complete_checkpoint(trainer_folder)
    if resume is not None and not rows_lead_to(folder / "metrics.jsonl", int(resume.name.split("-")[1])):
        logging.getLogger(__name__).warning("SFT: %s lacks rows before %s; training starts again", folder, resume.name)
        resume = None
    for checkpoint in trainer_folder.glob("checkpoint-*"):
        if checkpoint != resume:
            shutil.rmtree(checkpoint)
    with lent(policy.model):
        trainer = SFTTrainer(
            model=policy.model,
            args=config,
            train_dataset=Dataset.from_dict(rows).select(order),
            processing_class=policy.tokenizer,
            callbacks=[StepLog(folder / "metrics.jsonl", on_step, "SFT")],
        )
        run(trainer, resume)


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

    archives = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    names = {f.name for f in checkpoint.iterdir()}
    if not {"trainer_state.json", *archives} <= names or not any(name.endswith(".safetensors") for name in names):
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
