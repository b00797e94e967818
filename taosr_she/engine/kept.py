"""A prefix whose keys and values are kept between batches: in a service, all prompts begin with the same rules."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taosr_she.engine.cache import make_cache
from taosr_she.engine.logprobs import picked_logits
from taosr_she.engine.speedups import speedups


class Kept(NamedTuple):
    """A prefix of a model's prompts."""

    ids: list[int]
    layers: list[tuple[Tensor, Tensor]]  # keys and values of every layer: (1, heads, tokens, width)


_kept: WeakKeyDictionary[torch.nn.Module, Kept] = WeakKeyDictionary()


@torch.inference_mode()
def keep_prefix(model: Any, ids: Sequence[int]) -> None:
    """Run these tokens once, and use them for all later prompts that begin with them.

    For a model that is only used: its weights must not change afterwards. The model must be one that `shares` prompts.
    """
    device = model.get_input_embeddings().weight.device
    cache = make_cache(model.config, 0)
    last = torch.tensor([len(ids) - 1], device=device)
    picked_logits(model, torch.tensor([list(ids)], device=device), last, past_key_values=cache, use_cache=True)
    _kept[model] = Kept(list(ids), [(layer.keys, layer.values) for layer in cache.layers])


def kept_prefix(model: Any, sequences: Sequence[list[int]]) -> Kept | None:
    """The kept prefix, if all sequences begin with it and go on."""
    kept = _kept.get(model) if speedups().kept_prefixes else None
    if kept is None:
        return None
    n = len(kept.ids)
    return kept if all(len(s) > n and s[:n] == kept.ids for s in sequences) else None
