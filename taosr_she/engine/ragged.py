"""Sequences of unequal lengths, concatenated or in padded rows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Ragged:
    """S sequences of unequal lengths: concatenated (N, ...), or one per row with padding (S, longest, ...)."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = list(lengths)
        self.width = max(self.lengths, default=0)
        sizes = torch.tensor(self.lengths, device=device)
        self.used = torch.arange(self.width, device=device) < sizes[:, None]  # (S, longest) bool
        self.even = all(n == self.width for n in self.lengths)
        self.place = self.used.flatten().nonzero()[:, 0]  # (N,): position of each token in the padded rows
        self.slot = (self.used.flatten().cumsum(0) - 1).clamp(min=0)  # (S * longest,): the reverse; anything in padding

    def rows(self, flat: Tensor) -> Tensor:
        """(N, ...) -> (S, longest, ...). Padding may hold any values; users must give it no gradient."""
        padded = flat if self.even else _Spread.apply(flat, self.slot, self.place)
        return padded.unflatten(0, (len(self.lengths), self.width))

    def filled(self, flat: Tensor, value: float) -> Tensor:
        """As `rows`, with `value` in the padding; without gradients."""
        if self.even:
            return self.rows(flat)
        padded = flat.new_full((len(self.slot), *flat.shape[1:]), value).index_copy_(0, self.place, flat)
        return padded.unflatten(0, (len(self.lengths), self.width))

    def flat(self, rows: Tensor) -> Tensor:
        """(S, longest, ...) -> (N, ...)."""
        padded = rows.flatten(0, 1)
        return padded if self.even else _Collect.apply(padded, self.place)


class _Spread(torch.autograd.Function):
    """`flat[slot]`. Autograd's own gradient would need an atomic addition for each number."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, slot: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return flat.index_select(0, slot)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _Collect(torch.autograd.Function):
    """`padded[place]`, likewise."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.shape = padded.shape
        return padded.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.saved_tensors[0], gradient), None
