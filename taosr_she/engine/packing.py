"""Prompts and their responses, concatenated in one row without padding, and the attention that separates them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from taosr_she.engine.flash_parts import FlashParts
from taosr_she.engine.masked import Masked
from taosr_she.engine.prefix_tree import shared_prefixes
from taosr_she.engine.ragged import Ragged
from taosr_she.engine.speedups import speedups
from taosr_she.engine.two_part import TwoParts

WAYS: dict[str, type[TwoParts] | type[FlashParts]] = {"cpu": TwoParts, "cuda": FlashParts}
"""Attention in a packed row by kind of device; on other devices, keys and values are copied and masked."""


class Pack:
    """C prompts, then B responses in the order of their prompts, in one row of N tokens.

    Every prompt has at least one token; responses may be empty. `group[b]` is the prompt of response b.
    """

    def __init__(
        self, prompts: Sequence[list[int]], responses: Sequence[list[int]], group: Sequence[int], device: torch.device
    ) -> None:
        order = sorted(range(len(group)), key=lambda b: group[b])
        self.prompts = Ragged([len(p) for p in prompts], device)
        self.responses = Ragged([len(responses[b]) for b in order], device)
        begin = sum(self.prompts.lengths)  # where the responses begin
        self.group = torch.tensor([group[b] for b in order], dtype=torch.long, device=device)  # (B,), increasing
        starts = torch.tensor(self.prompts.lengths, device=device)[self.group]
        tokens = [t for p in prompts for t in p] + [t for b in order for t in responses[b]]
        self.ids = torch.tensor(tokens, device=device)[None]  # (1, N)
        positions = [
            torch.arange(self.prompts.width, device=device).expand_as(self.prompts.used)[self.prompts.used],
            (starts[:, None] + torch.arange(self.responses.width, device=device))[self.responses.used],
        ]
        self.positions = torch.cat(positions)[None]  # (1, N): a response continues after its prompt
        # Of each response, in the order of the caller: the last token of its prompt, and its own first.
        ends = torch.tensor(self.prompts.lengths).cumsum(0) - 1
        begins = begin + torch.tensor([0, *self.responses.lengths]).cumsum(0)
        place = {b: n for n, b in enumerate(order)}
        self._before = [int(ends[g]) for g in group]
        self._starts = [int(ends[g]) + 1 - self.prompts.lengths[g] for g in group]
        self._lengths = [len(r) for r in responses]
        self._first = [int(begins[place[b]]) for b in range(len(group))]
        way = WAYS.get(device.type, Masked) if speedups().split_attention else Masked
        self._attend = way(self.prompts, self.responses, self.group).attend

    def predecessors(self, lengths: Sequence[int]) -> Tensor:
        """Index of the token that predicts each of the first `lengths[b]` tokens of response b: (sum of lengths,)."""
        picked = []
        for before, first, n in zip(self._before, self._first, lengths, strict=True):
            if n:
                picked += [before, *range(first, first + n - 1)]
        return torch.tensor(picked, dtype=torch.long, device=self.ids.device)

    def places(self, rows: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Position in the row of the token at `positions[n]` of prompt and response `rows[n]` together: (N,)."""
        found = []
        for b, position in zip(rows, positions, strict=True):
            own = position - (self._before[b] + 1 - self._starts[b])  # in the response; negative in the prompt
            found.append(self._starts[b] + position if own < 0 else self._first[b] + own)
        return torch.tensor(found, dtype=torch.long, device=self.ids.device)

    def last(self) -> Tensor:
        """Index of the last token of each response, or of its prompt if the response is empty: (B,)."""
        ends = [
            first + n - 1 if n else before
            for before, first, n in zip(self._before, self._first, self._lengths, strict=True)
        ]
        return torch.tensor(ends, dtype=torch.long, device=self.ids.device)

    def attention(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (1, H, N, D), keys and values (1, H_kv, N, D) -> (1, N, H, D)."""
        q, k, v = (t.squeeze(0).transpose(0, 1) for t in (query, key, value))
        return self._attend(q, k, v, scale)[None]


def packed(sequences: Sequence[list[int]], device: torch.device) -> Pack:
    """Sequences in one row, with their common prefixes once if that saves enough."""
    return shared_pack(sequences, device) or Pack(sequences, [[] for _ in sequences], range(len(sequences)), device)


def shared_pack(sequences: Sequence[list[int]], device: torch.device) -> Pack | None:
    """As `packed`; None if common prefixes do not save enough."""
    shared = shared_prefixes(sequences)
    if shared is None:
        return None
    lengths, classes = shared
    prefixes = {c: s[:n] for s, n, c in zip(sequences, lengths, classes, strict=True)}
    rests = [s[n:] for s, n in zip(sequences, lengths, strict=True)]
    return Pack([prefixes[c] for c in range(len(prefixes))], rests, classes, device)
