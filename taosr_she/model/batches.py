"""Checks by trial, once for each model, whether a row gets the same answer in a batch as alone.

Rows of unequal length are padded on the left during generation. Some architectures count positions from the padding, or
mix rows outside of attention; others are not causal models, whatever their name.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taosr_she.base.errors import UserError
from taosr_she.engine.decode import CopiedPrompts
from taosr_she.engine.logprobs import logits_at
from taosr_she.engine.shared_prefix import unshareable

_one_by_one: WeakKeyDictionary[torch.nn.Module, bool] = WeakKeyDictionary()


def one_prompt_at_a_time(model: Any) -> bool:
    """Whether only rows of equal length may be generated together, such as those of one prompt.

    For models without shared prompts; the others are checked in `unshareable`. Raises UserError if the model's answer
    to a row changes even then: with its neighbours, with later tokens, or with the cache.
    """
    found = _one_by_one.get(model)
    if found is None:
        found = _one_by_one[model] = _found(model)
    return found


def check_runs(model: Any) -> None:
    """Raises UserError for a model that can be trained but would not generate the way it was trained."""
    if unshareable(model):
        one_prompt_at_a_time(model)


def _found(model: Any) -> bool:
    was_training = model.training
    model.eval()
    try:
        together, alone = _trial(model, [0, 1, 2, 3]), _trial(model, [1])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # third-party code, run in a way that its authors may not have expected
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{type(model).__name__} cannot be run token by token ({reason}); use another model") from error
    finally:
        model.train(was_training)
    if not alone:
        raise UserError(
            f"{type(model).__name__} gives a row another answer in a batch, or token by token, than in one pass over "
            "the row alone; use another model"
        )
    return not together


@torch.no_grad()
def _trial(model: Any, which: list[int]) -> bool:
    """Whether some prompts with two rows each, two forced tokens long, get the logits of each row alone."""
    weight = model.get_input_embeddings().weight
    prompts = [[t % len(weight) for t in p] for p in ([5, 9, 3, 11, 7], [4, 2], [6], [8, 12, 10])]
    prompts = [prompts[i] for i in which]
    rows = [p for p in prompts for _ in range(2)]
    group = torch.arange(len(prompts), device=weight.device).repeat_interleave(2)
    forced = torch.tensor([[7 + r, 13 - r] for r in range(len(rows))], device=weight.device) % len(weight)
    state = CopiedPrompts(model, prompts, group, 3)
    seen = [state.logits, state.advance(forced[:, 0])]
    kept = torch.arange(1, len(rows), device=weight.device)  # the first row leaves
    state.keep(kept)
    seen.append(state.advance(forced[kept, 1]))
    for step, found in enumerate(seen):
        full = [p + forced[r, :step].tolist() for r, p in enumerate(rows)]
        full = full[1:] if step == 2 else full
        alone = torch.stack([_alone(model, row) for row in full])
        # As whole responses are scored: padded on the right, without a cache, followed by other tokens.
        ends = torch.tensor([len(row) - 1 for row in full], device=weight.device)
        longer = [[*row, 9 % len(weight)] for row in full]
        scored = logits_at(model, longer, torch.arange(len(full), device=weight.device), ends)
        if not (_alike(found, alone) and _alike(scored, alone)):
            return False
    return True


def _alone(model: Any, row: list[int]) -> Tensor:
    ids = torch.tensor([row], device=model.get_input_embeddings().weight.device)
    logits: Tensor = model(input_ids=ids, use_cache=False).logits[0, -1]
    return logits


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether logits are equal up to rounding, relative to the spread of the logits of a row.

    In float32, the bound of 0.02 accepts the differences of state space models that compute their state in two ways
    (0.002 in Nemotron-H). If rows affect each other, the difference is 0.05 or more. For a model that has diverged the
    test says nothing; the code that uses its numbers reports that.
    """
    wanted = wanted.float()
    if not bool(wanted.isfinite().all()):
        return True
    spread = (wanted - wanted.mean(dim=-1, keepdim=True)).norm(dim=-1)
    exact = found.dtype == torch.float32 and not torch.is_autocast_enabled(found.device.type)
    apart = (found.float() - wanted).norm(dim=-1)
    return bool((apart <= (0.02 if exact else 0.3) * spread + 1e-6).all())
