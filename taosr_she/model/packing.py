"""Prompts and their responses behind each other in one row without padding, and the attention that tells them apart."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Ragged:
    """S sequences of unequal lengths: behind each other (N, ...), or one a row with padding (S, longest, ...)."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = list(lengths)
        self.width = max(self.lengths, default=0)
        sizes = torch.tensor(self.lengths, device=device)
        self.used = torch.arange(self.width, device=device) < sizes[:, None]  # (S, longest) bool
        self.even = all(n == self.width for n in self.lengths)
        self.place = self.used.flatten().nonzero()[:, 0]  # (N,): where in the padded rows each token stands
        self.slot = (self.used.flatten().cumsum(0) - 1).clamp(min=0)  # (S * longest,): the reverse; anything in padding

    def rows(self, flat: Tensor) -> Tensor:
        """(N, ...) -> (S, longest, ...). Padding holds anything; whoever uses it must give it no gradient."""
        padded = flat if self.even else _Spread.apply(flat, self.slot, self.place)
        return padded.unflatten(0, (len(self.lengths), self.width))

    def flat(self, rows: Tensor) -> Tensor:
        """(S, longest, ...) -> (N, ...)."""
        padded = rows.flatten(0, 1)
        return padded if self.even else _Collect.apply(padded, self.place)


class _Spread(torch.autograd.Function):
    """`flat[slot]`. Autograd's own gradient of it adds up with an atomic operation for each number."""

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


class Pack:
    """C prompts, then B responses, in one row of N tokens. Every prompt has at least one token; responses may be empty.

    `group[b]` is the prompt of response b.
    """

    def __init__(
        self, prompts: Sequence[list[int]], responses: Sequence[list[int]], group: Sequence[int], device: torch.device
    ) -> None:
        self.prompts = Ragged([len(p) for p in prompts], device)
        self.responses = Ragged([len(r) for r in responses], device)
        self.begin = sum(self.prompts.lengths)  # where the responses begin
        self.group = torch.tensor(group, device=device)  # (B,)
        starts = torch.tensor(self.prompts.lengths, device=device)[self.group]
        self.ids = torch.tensor([t for s in (*prompts, *responses) for t in s], device=device)[None]  # (1, N)
        positions = [
            torch.arange(self.prompts.width, device=device).expand_as(self.prompts.used)[self.prompts.used],
            (starts[:, None] + torch.arange(self.responses.width, device=device))[self.responses.used],
        ]
        self.positions = torch.cat(positions)[None]  # (1, N): a response goes on where its prompt ends
        self._ends = torch.tensor(self.prompts.lengths).cumsum(0) - 1
        # What a response token may look at, of its prompt and of its response: 0, elsewhere minus infinity. Added to
        # the scores as it is; a mask of truth values would be turned into this one anew in every layer.
        width = self.responses.width
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        seen = self.prompts.used[self.group][:, None, :].expand(-1, width, -1)
        visible = torch.cat([seen, causal.expand(len(group), -1, -1)], dim=2)[:, None]
        self.bias = torch.zeros(visible.shape, device=device).masked_fill_(~visible, -torch.inf)  # (B, 1, T, W + T)

    def predecessors(self, lengths: Sequence[int]) -> Tensor:
        """Which token of the row predicts each of the first `lengths[b]` tokens of response b: (sum of lengths,)."""
        starts = self.begin + torch.tensor([0, *self.responses.lengths]).cumsum(0)
        picked = []
        for b, (prompt, n) in enumerate(zip(self.group.tolist(), lengths, strict=True)):
            if n:
                picked += [int(self._ends[prompt]), *range(int(starts[b]), int(starts[b]) + n - 1)]
        return torch.tensor(picked, dtype=torch.long, device=self.ids.device)

    def attention(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (1, H, N, D), keys and values (1, H_kv, N, D) -> (1, N, H, D)."""
        # Split, not sliced: the gradient of a slice is as long as the whole row.
        sizes = [self.begin, self.ids.shape[1] - self.begin]
        both = [t.squeeze(0).transpose(0, 1).split(sizes) for t in (query, key, value)]  # 3 x 2 x (N, H, D)
        grouped = query.shape[1] != key.shape[1]
        q, k, v = (self.prompts.rows(t).transpose(1, 2) for t, _ in both)  # (C, H, W, D)
        # Padding is on the right, where no prompt token looks.
        out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
        parts = [self.prompts.flat(out.transpose(1, 2))]
        if self.responses.width:
            rows = [self.responses.rows(t).transpose(1, 2) for _, t in both]  # (B, H, T, D)
            keys = torch.cat([k.index_select(0, self.group), rows[1]], dim=2)
            values = torch.cat([v.index_select(0, self.group), rows[2]], dim=2)
            if grouped and query.device.type != "cpu":  # with a mask, only the CPU's kernel shares key heads
                keys, values = (t.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for t in (keys, values))
            out = scaled_dot_product_attention(
                rows[0], keys, values, attn_mask=self.bias.to(query.dtype), scale=scale,
                enable_gqa=keys.shape[1] != query.shape[1],
            )  # fmt: skip
            parts.append(self.responses.flat(out.transpose(1, 2)))
        return torch.cat(parts)[None]
