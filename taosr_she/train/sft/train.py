"""Supervised fine-tuning (SFT) on examples, by either engine: checks before training, and the files it writes."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object, write_json
from taosr_she.model.example import Example
from taosr_she.train.lengths import fitting
from taosr_she.train.sft.settings import SFTSettings

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy
    from taosr_she.train.sft.loop import Loss

FACTS = "sft.json"
"""File in a stage's folder: identity of the training, numbers of examples and steps, and whether it is finished."""


def train_sft(
    policy: "Policy",
    examples: Sequence[Any],
    settings: SFTSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None = None,
    loss_of: "Loss | None" = None,
) -> "Policy":
    """Train `policy.model`, or with `settings.lora` an adapter on it, in place on the labels of `examples`.

    Examples are `Example`s; with another loss, `loss_of`, anything with `ids` and `labels`, on our own engine.

    Writes `folder/metrics.jsonl` (one row per step: `step, loss, lr, seconds`), `folder/checkpoint` (a Hugging Face
    model folder) and `folder/sft.json` (counts). If it is called again after a kill, with the same arguments and the
    same start weights, it resumes from its last complete state and ends with the weights of an uninterrupted run. If it
    is called again after it finished, it loads the result; with other arguments, it starts again. `on_step` receives
    each row of metrics.

    Raises UserError if no example fits into `max_length` and the model's positions, if the weights are quantised, or if
    the loss is not finite. TRL's engine seeds the global generators of Python, NumPy and torch, and raises UserError if
    several GPUs are visible to one process.
    """
    from taosr_she.model.batches import check_runs
    from taosr_she.model.loading import quantised_by
    from taosr_she.model.policy import load_policy, put_adapter, save_trained
    from taosr_she.train.sft.by_trl import TRAINER, train_by_trl
    from taosr_she.train.sft.loop import train_by_own_pass
    from taosr_she.train.state import STATE

    method = quantised_by(policy.model.config)
    if method:
        raise UserError(
            f"SFT: the model's weights are quantised ({method}) and cannot be trained; use the original ones"
        )
    check_runs(policy.model)
    kept = fitting("SFT examples", examples, lambda e: len(e.ids), settings.max_length, policy.positions)
    facts = {
        "fingerprint": _fingerprint(policy, kept, settings, seed),
        "examples": len(kept),
        "too_long": len(examples) - len(kept),
        "steps": settings.total_steps(len(kept)),
    }
    facts_path, checkpoint = folder / FACTS, folder / "checkpoint"
    before = read_object(facts_path)
    if before == {**facts, "finished": True}:
        try:
            return load_policy(str(checkpoint), str(policy.device), "float32")
        except UserError as error:  # damaged after training finished
            logging.getLogger(__name__).warning("SFT: %s; training starts again", error)
            before = {}
    if before != {**facts, "finished": False}:
        for stale in (folder / TRAINER, checkpoint):
            shutil.rmtree(stale, ignore_errors=True)
        (folder / STATE).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(facts_path, {**facts, "finished": False})
    train = partial(train_by_own_pass, loss_of=loss_of) if settings.engine == "own" else train_by_trl
    if settings.lora is not None:
        put_adapter(policy, settings.lora, seed, folder)
    train(policy, kept, settings, seed, folder, on_step)
    save_trained(policy, folder, settings.lora)
    write_json(facts_path, {**facts, "finished": True})
    # The optimizer state is twice the size of the model and no longer needed.
    shutil.rmtree(folder / TRAINER, ignore_errors=True)
    (folder / STATE).unlink(missing_ok=True)
    return policy


def _fingerprint(policy: "Policy", examples: Sequence[Any], settings: SFTSettings, seed: int) -> str:
    """Tells whether the run in a folder is this run: data, settings, seed and a sample of the start weights."""
    # How often to save does not change the result, so a run may resume with another choice.
    parts = [
        settings.model_dump_json(exclude={"save_every"} | ({"lora"} if settings.lora is None else set())),
        str(seed),
    ]
    digest = hashlib.sha256("\n".join(parts).encode())
    for example in examples:
        digest.update(f"{example.ids}{example.labels}".encode())
        if isinstance(example, Example) and example.weights is not None:
            digest.update(f"{example.weights}".encode())
    for name, weight in policy.model.named_parameters():
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)].float().cpu()
        digest.update(name.encode() + sample.numpy().tobytes())
    return digest.hexdigest()
