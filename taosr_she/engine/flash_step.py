"""Attention of one new token per row on a GPU: to its prompt, shared with other rows, and to the row's own tokens.

Flash attention twice, then both parts as one softmax, as in training (engine/flash_parts.py). Nothing is scored that is
not written yet, no keys are copied, and every shape and address is fixed, so the step can be recorded as a CUDA graph.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from taosr_she.engine.compiled import merged
from taosr_she.engine.flash_parts import Bounds, attend


class FlashStep:
    """Which rows belong to which prompt, and how much of their memory is in use."""

    def __init__(self, group: Tensor, lengths: Tensor, width: int, used: Tensor, capacity: int) -> None:
        """`group` (R,), in increasing order, is the prompt of each row. `lengths` (C,) are those of the prompts. Each
        has room for `width` tokens. `used` (R,) int32 says how many of a row's own `capacity` tokens are written."""
        rows, prompts = len(group), len(lengths)
        counts = torch.bincount(group, minlength=prompts)
        at = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)
        self.groups = Bounds(at, int(counts.max()))  # of the rows
        self.prompts, self.lengths = _even(prompts, width, group.device), lengths.to(torch.int32)
        self.rows, self.own, self.used = _even(rows, 1, group.device), _even(rows, capacity, group.device), used

    def attend(self, query: Tensor, key: Tensor, value: Tensor, shared: Sequence[Tensor], scale: float) -> Tensor:
        """Queries (R, H, 1, D), own keys and values (R, H_kv, capacity, D), those of the prompts (C, H_kv, width, D),
        all stored token by token (`cache.by_token`) -> (R, 1, H, D)."""
        q = query.squeeze(2)
        k0, v0, k1, v1 = (t.transpose(1, 2).flatten(0, 1) for t in (*shared, key, value))
        x, of_prompt = attend(q, k0, v0, self.groups, self.prompts, False, scale, self.lengths)
        y, of_own = attend(q, k1, v1, self.rows, self.own, False, scale, self.used)
        return merged(x, of_prompt, y, of_own)[0][:, None]


def _even(sequences: int, length: int, device: torch.device) -> Bounds:
    return Bounds(torch.arange(sequences + 1, device=device, dtype=torch.int32) * length, length)
