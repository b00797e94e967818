"""SFT with TRL's `SFTTrainer` as it is: the engine of the kept results, and for what our own does not do."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taosr_she.model.example import Example
from taosr_she.train.sft.order import batch_order
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.trl.checkpoints import last_complete_checkpoint
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
