"""Logits at chosen places of whole sequences, for fine-tuning: no padding, no logits for other tokens."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taosr_she.engine.attention import say_once
from taosr_she.engine.logprobs import chosen_logprobs, logits_at
from taosr_she.engine.packing import packed
from taosr_she.engine.runner import runner
from taosr_she.engine.shared_prefix import SAMPLE, Groups, unshareable, wrong_gradient
from taosr_she.engine.speedups import speedups


def labelled_logprobs(
    model: Any, sequences: Sequence[list[int]], rows: Sequence[int], positions: Sequence[int], tokens: Sequence[int]
) -> Tensor:
    """Log-probability (N,) of `tokens[n]` as the next token after position `positions[n]` of `sequences[rows[n]]`."""
    scores = labelled_logits(model, sequences, rows, positions)
    return chosen_logprobs(scores, torch.tensor(tokens, device=scores.device))


def labelled_logits(
    model: Any, sequences: Sequence[list[int]], rows: Sequence[int], positions: Sequence[int]
) -> Tensor:
    """Logits (N, V) after position `positions[n]` of `sequences[rows[n]]`.

    Gradients are computed if the caller has them enabled. All sequences are packed in one row, and their common prefix
    is run once. A model whose attention cannot be replaced runs them padded, and the log says so.
    """
    device = model.get_input_embeddings().weight.device
    reason = unshareable(model)
    if not reason and torch.is_grad_enabled():
        reason = wrong_gradient(model, lambda: _as_groups(sequences, device))
    if reason or not speedups().shared_prompts:
        if reason:
            say_once(type(model).__name__, reason)
        return logits_at(model, sequences, torch.tensor(rows), torch.tensor(positions))
    pack = packed(sequences, device)
    return runner(model).logits(pack.ids, pack.positions, pack.attention, pack.places(rows, positions))


def _as_groups(sequences: Sequence[list[int]], device: torch.device) -> Groups:
    """The first sequences as prompts with one response each, split in the middle."""
    first = [s for s in sequences if len(s) > 1][:SAMPLE]
    prompts, responses = [s[: len(s) // 2] for s in first], [s[len(s) // 2 :] for s in first]
    width = max(map(len, responses), default=0)
    ids = torch.tensor([r + [0] * (width - len(r)) for r in responses], device=device)
    lengths = torch.tensor(list(map(len, responses)), device=device)
    return prompts, torch.arange(len(first), device=device), ids, torch.arange(width, device=device) < lengths[:, None]
