"""Log-probabilities of the responses of whole groups, with every prompt run once: P + G x T tokens, not G x (P + T).

All tokens of a micro-batch are concatenated in one row without padding: first the prompts, then the responses. Only
attention knows the boundaries: prompts attend to themselves, responses to their prompt and themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taosr_she.engine.attention import Unsupported, obstacle, say_once
from taosr_she.engine.behind import Behind
from taosr_she.engine.decode import SharedPrompts
from taosr_she.engine.kept import kept_prefix
from taosr_she.engine.logprobs import logits_at, response_logprobs, token_logprobs
from taosr_she.engine.packing import Pack, packed, shared_pack
from taosr_she.engine.runner import runner
from taosr_she.engine.speedups import speedups

Groups = tuple[Sequence[list[int]], Tensor, Tensor, Tensor]
"""Prompts, and group, ids and mask of responses, as for `shared_logprobs`."""
CHECKED = 6
"""Number of matrices whose gradients are compared: queries, keys and values, each with both matrices of an adapter."""
TINY = torch.finfo(torch.float32).tiny
NEGLIGIBLE = 0.02
"""Gradients smaller than this share of the largest are compared with that share instead of with their own size."""
SAMPLE = 4
"""Number of responses on which they are compared."""
_reasons: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()
"""Why a model cannot share prompts, "" if it can; determined once for each model."""
_gradients: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()
"""Why a model cannot be trained with shared prompts, "" if it can."""


def shared_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    group: Tensor,
    ids: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The same result and gradients as `response_logprobs` for the prompts `prompts[group[b]]`, with less work.

    group (B,) long indexes `prompts`; ids (B, T) long; mask (B, T) bool, True for the first tokens of a row. A model
    whose attention cannot be replaced uses `response_logprobs`, and the log says so once.
    """
    reason = unshareable(model)
    if not reason and torch.is_grad_enabled():
        reason = wrong_gradient(model, lambda: first_rows(prompts, group, ids, mask))
    if reason or not speedups().shared_prompts:
        if reason:
            say_once(type(model).__name__, reason)
        return response_logprobs(model, [prompts[g] for g in group.tolist()], ids, mask, temperature, with_entropy)
    return _packed_logprobs(model, prompts, group, ids, mask, temperature, with_entropy)


@torch.inference_mode()
def next_logits(model: Any, sequences: Sequence[list[int]]) -> Tensor:
    """Logits (N, V) after the last token of each of N sequences; common prefixes are run once."""
    device = model.get_input_embeddings().weight.device
    if not sequences or not shares(model):
        return _each_alone(model, sequences, device)
    kept = kept_prefix(model, sequences)
    if kept is not None and device.type != "cpu":
        return SharedPrompts(model, sequences, torch.arange(len(sequences), device=device), 0).logits
    if kept is not None:
        pack = packed([s[len(kept.ids) :] for s in sequences], device)
        behind = Behind(kept, pack)
        return runner(model).logits(pack.ids, behind.positions, behind.attention, pack.last())
    found = shared_pack(sequences, device)
    if found is None:
        return _each_alone(model, sequences, device)
    return runner(model).logits(found.ids, found.positions, found.attention, found.last())


def _each_alone(model: Any, sequences: Sequence[list[int]], device: torch.device) -> Tensor:
    ends = torch.tensor([len(s) - 1 for s in sequences], device=device)
    return logits_at(model, sequences, torch.arange(len(sequences), device=device), ends)


def shares(model: Any) -> bool:
    """Whether common prefixes of prompts are run once for this model."""
    return speedups().shared_prompts and not unshareable(model)


def unshareable(model: Any) -> str:
    """Why `shared_logprobs` takes the plain path for this model; "" if it does not.

    Besides the known reasons, both paths are compared on a small example, because a model may connect neighbours in a
    row outside of its attention.
    """
    reason = _reasons.get(model)
    if reason is None:
        reason = _reasons[model] = obstacle(model) or _difference(model)
    return reason


def wrong_gradient(model: Any, example: Callable[[], Groups]) -> str:
    """Why shared prompts must not be used in training, although they give the right values; "" if they may.

    On a CPU, tests compare gradients. Other devices have different kernels, which the tests may not have covered. So
    training itself compares gradients there, once for each model, on an `example` of what it is trained on: on text
    that a model never produces, a gradient in half precision may be nothing but rounding (docs/log.md).
    """
    if model.device.type == "cpu":
        return ""
    reason = _gradients.get(model)
    if reason is None:
        reason = _gradients[model] = gradient_difference(model, *example())
    return reason


def gradient_difference(model: Any, prompts: Sequence[list[int]], group: Tensor, ids: Tensor, mask: Tensor) -> str:
    """Compare gradients of the first matrices after the embeddings, which depend on all attention layers.

    Arguments as for `shared_logprobs`. The bounds are loose on purpose: rounding must not switch sharing off, and a
    wrong kernel is wrong by far more. Under autocast, both ways are compared with float32, and ours may be twice as far
    away as the plain one, plus a fifth.
    """
    embeddings = model.get_input_embeddings().weight
    weights = [p for p in model.parameters() if p.requires_grad and p.dim() == 2 and p is not embeddings][:CHECKED]
    if not weights:
        return ""
    own = [prompts[g] for g in group.tolist()]
    was_training, device = model.training, model.device.type

    def gradients(logprobs: Tensor) -> list[Tensor]:
        found = torch.autograd.grad(logprobs.sum(), weights, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g.float() for g, w in zip(found, weights, strict=True)]

    model.eval()
    try:
        ours = gradients(_packed_logprobs(model, prompts, group, ids, mask, 1.0, False)[0])
        plain = exact = gradients(response_logprobs(model, own, ids, mask)[0])
        autocast = torch.is_autocast_enabled(device)
        if autocast:
            with torch.autocast(device, enabled=False):
                exact = gradients(response_logprobs(model, own, ids, mask)[0])
    finally:
        model.train(was_training)
    slack = 0.2 if autocast or model.dtype != torch.float32 else 0.01
    least = max(TINY, NEGLIGIBLE * max(float(g.norm()) for g in exact))
    for found, other, right in zip(ours, plain, exact, strict=True):
        size = max(least, float(right.norm()))
        gap, rounding = (float((g - right).norm()) / size for g in (found, other))
        if not gap <= 2 * rounding + slack:
            return f"its gradients differ by {gap:.1%} on {device}, those of the plain way by {rounding:.1%}"
    return ""


def first_rows(prompts: Sequence[list[int]], group: Tensor, ids: Tensor, mask: Tensor) -> Groups:
    """The first responses of a batch, enough to compare gradients."""
    rows = mask.any(dim=1).nonzero()[:SAMPLE, 0]
    return prompts, group[rows], ids[rows], mask[rows]


def _example(model: Any) -> Groups:
    """Two prompts with three responses."""
    device, vocabulary = model.get_input_embeddings().weight.device, model.get_input_embeddings().weight.shape[0]
    prompts = [[t % vocabulary for t in p] for p in ([5, 9, 3, 11, 7], [4, 2])]
    ids = torch.tensor([[7, 2, 6, 3], [6, 10, 9, 8], [3, 4, 2, 2]], device=device) % vocabulary
    mask = torch.arange(4, device=device) < torch.tensor([[4], [3], [2]], device=device)
    return prompts, torch.tensor([0, 1, 0], device=device), ids, mask


@torch.no_grad()
def _difference(model: Any) -> str:
    prompts, group, ids, mask = _example(model)
    was_training = model.training
    model.eval()
    try:
        ours, _ = _packed_logprobs(model, prompts, group, ids, mask, 1.0, False)
    except Unsupported as error:
        return str(error)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # third-party code may need more of its attention than ours does
        return f"it fails with shared prompts ({' '.join(f'{type(error).__name__}: {error}'.split())[:200]})"
    finally:
        model.train(was_training)
    plain, _ = response_logprobs(model, [prompts[g] for g in group.tolist()], ids, mask)
    rounded = model.dtype != torch.float32 or torch.is_autocast_enabled(ids.device.type)
    tolerance = 0.25 if rounded else 1e-3
    return "" if torch.allclose(ours, plain, atol=tolerance, rtol=tolerance) else "packed rows change its output"


def _packed_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    group: Tensor,
    ids: Tensor,
    mask: Tensor,
    temperature: float,
    with_entropy: bool,
) -> tuple[Tensor, Tensor | None]:
    device = model.get_input_embeddings().weight.device
    present, within = group.unique(return_inverse=True)
    used = [prompts[g] for g in present.tolist()]
    lengths = mask.sum(dim=1).tolist()
    # The last token of a response is predicted but predicts nothing.
    responses = [row[: max(n - 1, 0)] for row, n in zip(ids.tolist(), lengths, strict=True)]
    pack = Pack(used, responses, within.tolist(), device)
    scores = runner(model).logits(pack.ids, pack.positions, pack.attention, pack.predecessors(lengths))  # (N, V)
    return token_logprobs(scores, ids, mask, temperature, with_entropy)
