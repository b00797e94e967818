"""Attention of a packed row whose prompts all go on from one kept prefix, on a CPU.

Every token of the row attends to the whole prefix, so that part is one call without a mask, whose keys and values are
neither copied nor padded; the log-sum-exps of both parts combine them into one softmax (as in engine/two_part.py).
Without gradients: a kept prefix is for a model that is only used.
"""

from typing import Any

import torch
from torch import Tensor

from taosr_she.engine.kept import Kept
from taosr_she.engine.packing import Pack
from taosr_she.engine.two_part import TwoParts, attend_with_sums, flash


class Behind:
    """The attention of a pack that continues a kept prefix; its positions begin behind the prefix."""

    def __init__(self, kept: Kept, pack: Pack) -> None:
        self.kept, self.pack = kept, pack
        self.positions = pack.positions + len(kept.ids)
        self.parts = TwoParts(pack.prompts, pack.responses, pack.group)

    def attention(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (1, H, N, D), keys and values (1, H_kv, N, D) -> (1, N, H, D)."""
        number: Any = module.layer_idx
        keys, values = (t.to(query.dtype) for t in self.kept.layers[number])
        x, of_prefix = (t[0].transpose(0, 1) for t in flash(query, keys, values, False, scale))  # (N, H, D), (N, H)
        q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))
        y, of_own = attend_with_sums(q, k, v, self.parts, scale)
        share = torch.sigmoid(of_prefix - of_own)[..., None]  # of the prefix, in the softmax of both
        return y.lerp(x, share.to(y.dtype))[None]
