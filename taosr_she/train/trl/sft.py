"""Supervised fine-tuning (SFT) on demonstrations, with TRL's `SFTTrainer` as it is: the start of every training run."""

import hashlib
import json
import logging
import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.model.example import Example
from taosr_she.train.trl.lengths import fitting
from taosr_she.train.trl.trainer import TrainerSettings, arguments, lent, recomputes, run

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy

POOL = 16  # batches among which examples are sorted by length: more saves padding, fewer keeps the order random


class SFTSettings(TrainerSettings):
    """Supervised fine-tuning. Defaults are the recommended run on the market with the tiny model."""

    epochs: int = Field(default=3, gt=0)
    """Passes over the demonstrations."""
    batch_size: int = Field(default=32, gt=0)
    """Examples of one forward and backward pass; lower it when memory runs out."""
    accumulate: int = Field(default=1, gt=0)
    """Batches summed into one optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW. A pretrained model wants far less: about 1e-5."""
    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """What the learning rate does after the warm-up; `cosine` and `linear` fall to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay."""
    max_length: int = Field(default=1024, gt=1)
    """Examples with more tokens, or more than the model has positions, are left out and counted: a response that is cut
    off would teach cutting off."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations instead of storing them: less memory, about a fifth slower. `auto`: only on a GPU."""
    save_every: int = Field(default=200, gt=0)
    """Optimizer steps between two resumable checkpoints."""

    def total_steps(self, examples: int) -> int:
        """Optimizer steps of a run over so many examples."""
        return math.ceil(math.ceil(examples * self.epochs / self.batch_size) / self.accumulate)


def train_sft(
    policy: "Policy",
    examples: Sequence[Example],
    settings: SFTSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> "Policy":
    """Train `policy.model` in place on the labels of `examples`.

    Writes `folder/metrics.jsonl` (one row a step: `step, loss, lr, seconds`), `folder/checkpoint` (a Hugging Face model
    folder) and `folder/sft.json` (counts). Called again after a kill, with the same arguments and the same start
    weights, it resumes from its last complete checkpoint and ends with the weights of an uninterrupted run; called
    again after it finished, it loads the result; with other arguments it starts afresh. `on_step` gets each metrics
    row. Seeds the global generators of Python, NumPy and torch. Raises UserError when no example fits into
    `max_length` and the model's positions, when its weights are quantised, when several GPUs are visible, or when the
    loss is not finite.
    """
    from taosr_she.model.batches import check_runs
    from taosr_she.model.loading import quantised_by
    from taosr_she.model.policy import load_policy, save_policy

    method = quantised_by(policy.model.config)
    if method:
        raise UserError(
            f"SFT: the model's weights are quantised ({method}) and cannot be trained; take the original ones"
        )
    check_runs(policy.model)
    kept = fitting("SFT examples", examples, lambda e: len(e.ids), settings.max_length, policy.positions)
    facts = {
        "fingerprint": _fingerprint(policy, kept, settings, seed),
        "examples": len(kept),
        "too_long": len(examples) - len(kept),
        "steps": settings.total_steps(len(kept)),
    }
    state_path, checkpoint, trainer_folder = folder / "sft.json", folder / "checkpoint", folder / "trainer"
    before = _read_json(state_path)
    if before == {**facts, "finished": True}:
        try:
            return load_policy(str(checkpoint), str(policy.device), "float32")
        except UserError as error:  # damaged after it was finished
            logging.getLogger(__name__).warning("SFT: %s; training starts again", error)
            before = {}
    if before != {**facts, "finished": False}:
        for stale in (trainer_folder, checkpoint):
            shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(state_path, {**facts, "finished": False})
    _train(policy, kept, settings, seed, folder, on_step)
    save_policy(policy, checkpoint)
    write_json(state_path, {**facts, "finished": True})
    # Twice the size of the model in optimizer state that nothing needs any more.
    shutil.rmtree(trainer_folder, ignore_errors=True)
    return policy


def batch_order(lengths: Sequence[int], settings: SFTSettings, seed: int) -> list[int]:
    """Example indices for the whole run, epoch after epoch, so that consecutive batches hold examples of like length.

    Each epoch is shuffled; within a pool of `POOL` batches examples are sorted by length and cut into batches, whose
    order is shuffled again. The Trainer's own length grouping leaves every pool running from long to short, which the
    learning rate schedule and the loss curve would see. One fixed order also makes resuming a matter of skipping.
    """
    size, rng = settings.batch_size, random.Random(seed)
    stream: list[int] = []
    for _ in range(settings.epochs):
        epoch = list(range(len(lengths)))
        rng.shuffle(epoch)
        stream += epoch
    order: list[int] = []
    for start in range(0, len(stream), POOL * size):
        rows = sorted(stream[start : start + POOL * size], key=lambda row: lengths[row])
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        short = [batches.pop()] if len(batches[-1]) < size else []  # must stay last, or it shifts every later batch
        rng.shuffle(batches)
        order += [row for batch in batches + short for row in batch]
    return order


def last_complete_checkpoint(trainer_folder: Path) -> Path | None:
    """The newest Trainer checkpoint that can be resumed, or None.

    The Trainer writes `trainer_state.json` last, so a checkpoint whose state reads as JSON was written to its end; the
    other files are asked for because a kill can also strike while an old checkpoint is being deleted, and looked into
    because the Trainer does not sync them: a power cut leaves them empty or cut short.
    """
    found = [c for c in trainer_folder.glob("checkpoint-*") if c.is_dir() and c.name.split("-")[1].isdecimal()]
    newest_first = sorted(found, key=lambda c: int(c.name.split("-")[1]), reverse=True)
    return next((c for c in newest_first if _complete(c)), None)


def _complete(checkpoint: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    from taosr_she.train.rl.state import broken_archive

    archives = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    names = {f.name for f in checkpoint.iterdir()}
    if not {"trainer_state.json", *archives} <= names or not any(name.endswith(".safetensors") for name in names):
        return False
    if not _read_json(checkpoint / "trainer_state.json") or any(broken_archive(checkpoint / name) for name in archives):
        return False
    try:
        for weights in checkpoint.glob("*.safetensors"):
            safe_open(weights, "pt")
    except SafetensorError:
        return False
    return True


def _train(
    policy: "Policy",
    examples: Sequence[Example],
    settings: SFTSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None,
) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from taosr_she.train.rl.state import rows_lead_to
    from taosr_she.train.trl.log import StepLog

    trainer_folder = folder / "trainer"
    config = arguments(
        SFTConfig, "SFT", policy, settings, settings.total_steps(len(examples)), seed, trainer_folder,
        num_train_epochs=1,  # `batch_order` lays out all epochs
        train_sampling_strategy="sequential",
        gradient_accumulation_steps=settings.accumulate,
        lr_scheduler_type="constant_with_warmup" if settings.lr_schedule == "constant" else settings.lr_schedule,
        weight_decay=settings.weight_decay,
        gradient_checkpointing=recomputes(policy, settings.gradient_checkpointing),
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # ids and labels are ready
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


def _fingerprint(policy: "Policy", examples: Sequence[Example], settings: SFTSettings, seed: int) -> str:
    """Tells whether the run in a folder is this run: data, settings, seed and a sample of the start weights."""
    # How often to save does not change the result, so a run may resume with another choice.
    parts = [settings.model_dump_json(exclude={"save_every"}), str(seed)]
    digest = hashlib.sha256("\n".join(parts).encode())
    for example in examples:
        digest.update(f"{example.ids}{example.labels}".encode())
    for name, weight in policy.model.named_parameters():
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)].float().cpu()
        digest.update(name.encode() + sample.numpy().tobytes())
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty when it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
