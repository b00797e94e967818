"""Log-probabilities of the responses of whole groups, every prompt run once: P + G x T tokens, not G x (P + T).

All tokens of a micro-batch stand behind each other in one row without padding: first the prompts, then the responses.
Only attention knows where one ends: prompts attend to themselves, responses to their prompt and themselves.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taosr_she.engine.attention import Unsupported, obstacle, say_once
from taosr_she.engine.logprobs import logits_at, response_logprobs, token_logprobs
from taosr_she.engine.packing import Pack
from taosr_she.engine.prefix_tree import shared_prefixes
from taosr_she.engine.runner import runner
from taosr_she.engine.speedups import speedups

_reasons: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()
"""Why a model cannot share prompts, "" where it can: found out once for each model."""


def shared_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    group: Tensor,
    ids: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `response_logprobs` returns for the prompts `prompts[group[b]]`, with the same gradients, for less work.

    group (B,) long indexes `prompts`; ids (B, T) long; mask (B, T) bool, the first tokens of a row True. A model whose
    attention cannot be exchanged goes through `response_logprobs`; the log says so, once.
    """
    if not shares(model):
        if reason := unshareable(model):
            say_once(type(model).__name__, reason)
        return response_logprobs(model, [prompts[g] for g in group.tolist()], ids, mask, temperature, with_entropy)
    return _packed_logprobs(model, prompts, group, ids, mask, temperature, with_entropy)


@torch.inference_mode()
def next_logits(model: Any, sequences: Sequence[list[int]]) -> Tensor:
    """Logits (N, V) after the last token of each of N sequences; what they begin with in common is run once."""
    device = model.get_input_embeddings().weight.device
    shared = shared_prefixes(sequences) if shares(model) else None
    if shared is None:
        ends = torch.tensor([len(s) - 1 for s in sequences], device=device)
        return logits_at(model, sequences, torch.arange(len(sequences), device=device), ends)
    lengths, classes = shared
    prefixes = {c: s[:n] for s, n, c in zip(sequences, lengths, classes, strict=True)}
    rests = [s[n:] for s, n in zip(sequences, lengths, strict=True)]
    pack = Pack([prefixes[c] for c in range(len(prefixes))], rests, classes, device)
    return runner(model).logits(pack.ids, pack.positions, pack.attention, pack.last())


def shares(model: Any) -> bool:
    """Whether what prompts have in common is run once for this model."""
    return speedups().shared_prompts and not unshareable(model)


def unshareable(model: Any) -> str:
    """Why `shared_logprobs` takes the plain path for this model; "" when it does not.

    Beside what is known beforehand, both paths are run on a small example: a model may treat neighbours in a row as
    neighbours elsewhere than in its attention.
    """
    reason = _reasons.get(model)
    if reason is None:
        reason = _reasons[model] = obstacle(model) or _difference(model)
    return reason


@torch.no_grad()
def _difference(model: Any) -> str:
    device = model.get_input_embeddings().weight.device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    prompts, group = [[t % vocabulary for t in p] for p in ([5, 9, 3, 11, 7], [4, 2])], torch.tensor([0, 1, 0])
    group = group.to(device)
    ids = torch.tensor([[7, 2, 6, 3], [6, 10, 9, 8], [3, 4, 2, 2]], device=device) % vocabulary
    mask = torch.arange(4, device=device) < torch.tensor([[4], [3], [2]], device=device)
    was_training = model.training
    model.eval()
    try:
        ours, _ = _packed_logprobs(model, prompts, group, ids, mask, 1.0, False)
    except Unsupported as error:
        return str(error)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # foreign code may take its attention to do what ours does not; the plain path is left
        return f"it fails so ({' '.join(f'{type(error).__name__}: {error}'.split())[:200]})"
    finally:
        model.train(was_training)
    plain, _ = response_logprobs(model, [prompts[g] for g in group.tolist()], ids, mask)
    tolerance = 1e-3 if model.dtype == torch.float32 and not torch.is_autocast_enabled(device.type) else 0.25
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
