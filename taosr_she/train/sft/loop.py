"""SFT on our own packed pass: plain PyTorch, with logits only for the tokens that are trained on.

The loss of a step is the mean over all its labelled tokens, however they are spread over batches. Dropout is off, as in
the step-credit loop, but for that of an adapter. Everything follows from the seed and the step, so a killed run resumes
with the same numbers. Under torchrun, the examples of a step are split over the processes.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError
from taosr_she.engine.labelled import labelled_logprobs
from taosr_she.engine.lora import adapter_dropout
from taosr_she.engine.precision import computing
from taosr_she.model.example import IGNORE, Example
from taosr_she.model.policy import Policy
from taosr_she.ranks.work import add_gradients, deal, rank, split
from taosr_she.train.sft.order import batch_order
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.state import MetricsFile, load_state, rows_lead_to, save_state, saved_updates

METRICS = "metrics.jsonl"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loss:
    """A loss that is a mean, over the tokens or the examples of a step."""

    backward: Callable[..., float]
    """`backward(model, batches, precision, count)` adds the gradient of the batches, one after another, and returns
    their loss; `count` is what the sum is divided by."""
    count: Callable[[Sequence[Any]], float]
    """Number of tokens or examples that the mean is over, each with its weight."""


def train_by_own_pass(
    policy: Policy,
    examples: Sequence[Example],
    settings: SFTSettings,
    seed: int,
    folder: Path,
    on_step: Callable[[dict[str, float]], None] | None,
    loss_of: Loss | None = None,
) -> None:
    """Train `policy.model` in place; writes `metrics.jsonl` and, every `save_every` steps, `state.pt`.

    `loss_of` replaces the loss on labels, for examples of another kind, which have `ids`."""
    model = policy.model.eval()
    optimizer = make_optimizer(model, settings)
    finished, saved = 0, saved_updates(folder)
    if rows_lead_to(folder / METRICS, saved):
        finished = load_state(folder, model, optimizer)
    else:
        log.warning("SFT: %s lacks rows before step %d; training starts again", folder / METRICS, saved)
    metrics = MetricsFile(folder / METRICS, finished)
    zero = time.monotonic() - metrics.last.get("seconds", 0.0)  # when `seconds` would be 0
    order = batch_order([len(e.ids) for e in examples], settings, seed)
    total, size = settings.total_steps(len(examples)), settings.accumulate * settings.batch_size
    for step in range(finished, total):
        rate = learning_rate(settings, step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = [examples[i] for i in order[step * size : (step + 1) * size]]
        loss = one_step(model, chosen, settings, optimizer, loss_of or ON_LABELS, seed * 1_000_003 + step)
        if not math.isfinite(loss):
            raise UserError(f"SFT: the loss is {loss} at step {step + 1}: lower 'learning_rate'")
        row = {"step": step + 1, "loss": loss, "lr": rate, "seconds": round(time.monotonic() - zero, 3)}
        metrics.write(row)
        if on_step:
            on_step(row)
        if (step + 1) % settings.save_every == 0:
            metrics.sync()
            save_state(folder, step + 1, model, optimizer)
    metrics.close()


def one_step(
    model: Any,
    examples: Sequence[Any],
    settings: SFTSettings,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss | None = None,
    drawn_by: int = 0,
) -> float:
    """One optimizer step on all the examples, `batch_size` of them at a time in each process; returns their loss before
    the step. The adapter's dropout is drawn by `drawn_by` and the number of the process.

    If the loss is not finite, the caller ends the training.
    """
    loss_of = loss_of or ON_LABELS
    count = loss_of.count(examples)
    options = (loss_of.backward, settings.batch_size, settings.precision, count, drawn_by)
    loss = sum(split(_learn, [model], deal(examples), *options))
    add_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


def _learn(
    model: Any,
    examples: Sequence[Any],
    backward: Callable[..., float],
    size: int,
    precision: str,
    count: float,
    drawn_by: int,
) -> float:
    """Add the gradient of some of the examples of a step."""
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    with adapter_dropout(model, drawn_by + (rank() << 40)):
        return backward(model, batches, precision, count)


def labelled_tokens(examples: Sequence[Example]) -> float:
    """Number of tokens that the examples teach, each with its weight."""
    return sum(weight for e in examples for _, _, weight in _taught(e))


def _taught(example: Example) -> Iterator[tuple[int, int, float]]:
    """(position before it, token, weight) of every token that the example teaches."""
    for i, token in enumerate(example.labels[1:]):
        if token != IGNORE:
            yield i, token, 1 if example.weights is None else example.weights[i + 1]


def backward(model: Any, batches: Sequence[Sequence[Example]], precision: str, count: float) -> float:
    """Add the gradient of the weighted sum over all labelled tokens of the batches, divided by `count`, one batch after
    another; returns it."""
    total = 0.0
    for batch in batches:
        read = [e for e in batch if any(label != IGNORE for label in e.labels[1:])]
        if not read:
            continue
        learnt = [(b, *taught) for b, e in enumerate(read) for taught in _taught(e)]
        rows, positions, tokens, weights = zip(*learnt, strict=True)
        with computing(model, precision):
            # Nothing follows the last token of an example, so it is not an input.
            each = labelled_logprobs(model, [e.ids[:-1] for e in read], rows, positions, tokens)
        if any(e.weights is not None for e in read):
            each = each * torch.tensor(weights, dtype=each.dtype, device=each.device)
        loss = -each.sum() / count
        loss.backward()
        total += float(loss.detach())
    return total


ON_LABELS = Loss(backward, labelled_tokens)
"""The weighted mean of -log p over all labelled tokens."""


def make_optimizer(model: torch.nn.Module, settings: SFTSettings) -> torch.optim.Optimizer:
    """Fused AdamW; no weight decay on norms and biases, as in TRL's trainer."""
    weights = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in weights if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def learning_rate(settings: SFTSettings, step: int, total: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then `lr_schedule`, which reaches zero after the last step."""
    warmup = math.ceil(settings.warmup_share * total)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return settings.learning_rate * left[settings.lr_schedule]
