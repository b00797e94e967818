"""Next-token logits for rows that share prompts: prompts are kept once, or copied to every row if necessary."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from taosr_she.engine.attention import inputs
from taosr_she.engine.cache import make_cache
from taosr_she.engine.kept import kept_prefix
from taosr_she.engine.logprobs import picked_logits
from taosr_she.engine.prefix_tree import shared_prefixes
from taosr_she.engine.runner import runner
from taosr_she.engine.speedups import speedups

COPIED = 1 << 22
"""Up to this many bytes per layer, copying the prompts' keys and values to all rows is cheaper on a CPU. They stay in
its cache, and two matrix products replace four products, a concatenation and a regrouping (docs/performance.md)."""


class CopiedPrompts:
    """For any model with attention: every prompt is run once, and its keys and values are copied to its rows."""

    compact_share = 8
    """As SharedPrompts."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], group: Tensor, steps: int) -> None:
        """As SharedPrompts."""
        device = group.device
        self.model, self.step = model, 0
        self.width = max(map(len, prompts))
        # Padding is on the left; if there is none, the attention needs no mask.
        padded = torch.tensor([[0] * (self.width - len(p)) + p for p in prompts], device=device)  # (P, width)
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        self.padding = any(len(p) < self.width for p in prompts)
        self.visible = torch.arange(self.width + steps, device=device) >= self.width - lengths[:, None]
        self.cache = make_cache(model.config, self.width + steps)
        first = (torch.arange(self.width, device=device) - (self.width - lengths[:, None])).clamp(min=0)
        logits = self._forward(padded, first)
        self.cache.reorder_cache(group)
        self.logits, self.visible, self.position = logits[group], self.visible[group], lengths[group]

    def advance(self, tokens: Tensor) -> Tensor:
        """Logits (R, V) after one more token (R,) in every row."""
        self.step += 1
        logits = self._forward(tokens[:, None], self.position[:, None])
        self.position = self.position + 1
        return logits

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows, in increasing order."""
        self.cache.reorder_cache(rows)
        self.visible, self.position = self.visible[rows], self.position[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Positions, except for architectures with ALiBi, which take none."""
        optional = {"position_ids": positions, "logits_to_keep": 1}
        options = {name: value for name, value in optional.items() if name in inputs(type(self.model).forward)}
        seen = self.visible[:, : self.width + self.step] if self.padding else None
        out = self.model(input_ids=ids, attention_mask=seen, past_key_values=self.cache, use_cache=True, **options)
        logits: Tensor = out.logits[:, -1]
        return logits


class SharedPrompts:
    """For models whose attention can be replaced: prompts are neither copied nor read again for each row.

    One matrix product multiplies the queries of all rows of a prompt with its keys (as in Hydragen, 2402.05099). The
    scores for the prompt and for the row's own keys enter one softmax, so the result is that of ordinary attention. If
    every prompt has one row, common prefixes of the prompts are shared. Small prompts are copied (`COPIED`).
    """

    compact_share = 8
    """Remove finished rows once they are an eighth of the batch: all copying then costs less than 8 batches."""
    copies = True
    """Whether small prompts may be copied."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], group: Tensor, steps: int) -> None:
        """P prompts; `group` (R,) long, in increasing order, is the prompt of each row; at most `steps` new tokens."""
        device = group.device
        self.run = runner(model)
        # How much of each prompt is shared, and with which others.
        kept = kept_prefix(model, prompts)
        before = 0 if kept is None else len(kept.ids)
        begin, of = [len(p) for p in prompts], list(range(len(prompts)))
        if len(prompts) == len(group):
            found = shared_prefixes([p[before:] for p in prompts])
            if found is not None:
                begin, of = [before + n for n in found[0]], found[1]
            elif kept is not None and len(prompts) > 1:  # the kept prefix is all that they share
                begin, of = [before] * len(prompts), [0] * len(prompts)
        first = {c: p for p, c in reversed(list(enumerate(of)))}  # some prompt of each of the C beginnings
        shared = [prompts[first[c]][: begin[first[c]]] for c in range(len(first))]
        width = max(map(len, shared))
        # (C, width - before)
        padded = torch.tensor([p[before:] + [0] * (width - len(p)) for p in shared], dtype=torch.long, device=device)
        lengths = torch.tensor([len(p) for p in shared], device=device)
        ends = torch.arange(len(shared), device=device) * (width - before) + lengths - before - 1
        rests = [p[n:] for p, n in zip(prompts, begin, strict=True)]
        longest = max(map(len, rests))
        self.cache = make_cache(model.config, longest + steps)
        if kept is not None:
            for layer, states in zip(self.cache.layers, kept.layers, strict=True):
                layer.update(*(t.expand(len(shared), -1, -1, -1) for t in states))
        # Padding is on the right, where no token of a prompt attends, so no mask is needed.
        logits = padded.new_empty(0)
        if padded.numel():
            logits = picked_logits(model, padded, ends, past_key_values=self.cache, use_cache=True)  # (C, V)
        self.group = torch.tensor(of, device=device)[group]
        self.lengths, self.position = lengths, lengths[self.group]
        hidden = torch.arange(width, device=device) >= lengths[:, None]
        self.bias = _bias(hidden)[:, None, None] if bool(hidden.any()) else None  # (C, 1, 1, W)
        self.own_bias: Tensor | None = None  # (R, 1, 1, longest + steps, with the prompt where that is copied)
        self.rests_bias: Tensor | None = None
        self.copied = (
            speedups().copied_prompts
            and self.copies
            and device.type == "cpu"
            and not longest
            and self._bytes_copied() <= COPIED
        )
        if self.copied:
            for layer in self.cache.layers:
                layer.capacity = width + steps
            self.cache.reorder_cache(self.group)
            if self.bias is not None:
                self.own_bias = torch.nn.functional.pad(self.bias, (0, steps))[self.group]
        else:
            for layer in self.cache.layers:
                layer.share(len(group))
            self._lay_out()
        self.logits = self._run_rests(rests, longest + steps) if longest else logits[self.group]

    def advance(self, tokens: Tensor) -> Tensor:
        """Logits (R, V) after one more token (R,) in every row."""
        return self._forward(tokens[:, None], self.position[:, None])

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows, in increasing order; a prompt is removed with its last row."""
        self.cache.reorder_cache(rows)
        self.position = self.position[rows]
        self.own_bias = None if self.own_bias is None else self.own_bias[rows]
        if self.copied:
            return
        present, self.group = self.group[rows].unique(return_inverse=True)
        if len(present) < len(self.cache.layers[0].shared[0]):
            self.lengths = self.lengths[present]
            self.bias = None if self.bias is None else self.bias[present]
            for layer in self.cache.layers:
                layer.shared = tuple(t[present] for t in layer.shared)
        self._lay_out()

    def _bytes_copied(self) -> int:
        """Bytes of the prompts' keys and values of a layer if each row had its own copy."""
        first = self.cache.layers[0]
        return sum(t[0].numel() * t.element_size() for t in (first.keys, first.values)) * len(self.group)

    def _run_rests(self, rests: list[list[int]], capacity: int) -> Tensor:
        """Run the parts of prompts that are not shared, one row each, padded on the left: logits (R, V)."""
        device, width = self.group.device, max(map(len, rests))
        padded = torch.tensor([[0] * (width - len(r)) + r for r in rests], device=device)
        missing = torch.tensor([width - len(r) for r in rests], device=device)[:, None]
        if bool(missing.any()):
            self.own_bias = _bias(torch.arange(capacity, device=device) < missing)[:, None, None]
        positions = self.position[:, None] + (torch.arange(width, device=device) - missing).clamp(min=0)
        return self._forward(padded, positions)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        self.position = positions[:, -1] + 1
        last = torch.arange(ids.shape[1] - 1, ids.numel(), ids.shape[1], device=ids.device)
        return self.run.logits(ids, positions, self._attention, last, self.cache)

    def _lay_out(self) -> None:
        """Give every row a slot of its prompt: S slots per prompt, as many as the largest group needs."""
        counts = torch.bincount(self.group)
        self.slots = int(counts.max())
        order = self.group.argsort(stable=True)
        rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[self.group[order]]
        self.place = torch.empty_like(order)  # (R,): the slot of each row
        self.place[order] = self.group[order] * self.slots + rank
        self.row = torch.zeros(len(counts) * self.slots, dtype=torch.long, device=order.device)  # (C * S,)
        self.row[self.place] = torch.arange(len(order), device=order.device)
        # Are the slots in the order of the rows? That `place` is its own inverse is not enough: groups may be swapped.
        in_order = torch.arange(len(order), device=order.device)
        self.even = len(self.row) == len(order) and bool((self.place == in_order).all())

    def _attention(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (R, H, n, D), the rows' own keys and values (R, H_kv, m, D) -> (R, n, H, D)."""
        if self.copied:
            return self._alone(query, key, value, scale).transpose(1, 2)
        shared = self.cache.layers[module.layer_idx].shared
        attend = self._many if query.shape[2] > 1 else self._one
        return attend(query, key, value, shared, scale).transpose(1, 2)

    def _alone(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """One new token per row, whose keys and values include the prompt: (R, H, 1, D)."""
        scores = _by_key_head(query * scale, key) @ key.transpose(-1, -2)  # (R, H_kv, r, m)
        if self.own_bias is not None:
            scores += self.own_bias[..., : key.shape[2]]
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
        return (weights @ value).view(query.shape)

    def _one(self, query: Tensor, key: Tensor, value: Tensor, shared: Sequence[Tensor], scale: float) -> Tensor:
        """One new token per row: (R, H, 1, D)."""
        repeats = query.shape[1] // key.shape[1]
        q = _by_key_head(query * scale, key)
        own = q @ key.transpose(-1, -2)  # (R, H_kv, r, m)
        if self.own_bias is not None:
            own += self.own_bias[..., : key.shape[2]]
        to_prompt = self._by_prompt(q) @ shared[0].transpose(-1, -2)  # (C, H_kv, S * r, W)
        if self.bias is not None:
            to_prompt += self.bias
        weights = torch.cat([to_prompt, self._by_prompt(own)], dim=-1).softmax(dim=-1, dtype=torch.float32)
        of_prompt, of_own = weights.to(value.dtype).split([to_prompt.shape[-1], key.shape[2]], dim=-1)
        out = self._by_row(of_prompt @ shared[1], repeats) + self._by_row(of_own, repeats) @ value
        return out.reshape(query.shape)

    def _by_prompt(self, rows: Tensor) -> Tensor:
        """(R, H_kv, r, x) -> (C, H_kv, S * r, x)."""
        slots = rows if self.even else rows.index_select(0, self.row)
        return slots.unflatten(0, (-1, self.slots)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, prompts: Tensor, repeats: int) -> Tensor:
        """(C, H_kv, S * r, x) -> (R, H_kv, r, x)."""
        slots = prompts.unflatten(2, (self.slots, repeats)).transpose(1, 2).flatten(0, 1)
        return slots if self.even else slots.index_select(0, self.place)

    def _many(self, query: Tensor, key: Tensor, value: Tensor, shared: Sequence[Tensor], scale: float) -> Tensor:
        """The first tokens of each row, several at once: (R, H, n, D)."""
        keys, values = (self._prepended(t, new) for t, new in zip(shared, (key, value), strict=True))
        repeats = query.shape[1] // key.shape[1]
        if repeats > 1 and query.device.type != "cpu":  # with a mask, only the CPU's kernel shares key heads
            keys, values = (t.repeat_interleave(repeats, dim=1) for t in (keys, values))
        if self.rests_bias is None:  # the same for all layers
            self.rests_bias = self._bias_of_rests(len(query), key.shape[2], shared[0]).to(query.dtype)
        bias = self.rests_bias
        return scaled_dot_product_attention(
            query, keys, values, attn_mask=bias, scale=scale, enable_gqa=keys.shape[1] != query.shape[1]
        )

    def _prepended(self, shared: Tensor, new: Tensor) -> Tensor:
        """Keys or values of each row's prompt (C, H_kv, W, D), followed by its own (R, H_kv, n, D)."""
        width = shared.shape[2]
        whole = new.new_empty(len(new), new.shape[1], width + new.shape[2], new.shape[3])
        torch.index_select(shared, 0, self.group, out=whole[:, :, :width])
        whole[:, :, width:] = new
        return whole

    def _bias_of_rests(self, rows: int, new: int, shared: Tensor) -> Tensor:
        """(R, 1, n, W + n): what the first n tokens of each row may see."""
        own = _bias(torch.ones(new, new, dtype=torch.bool, device=shared.device).triu(1)).expand(rows, 1, -1, -1)
        if self.own_bias is not None:
            own = own + self.own_bias[..., :new]
        before = torch.zeros(len(shared), 1, 1, shared.shape[2], device=shared.device)
        before = (before if self.bias is None else self.bias)[self.group].expand(-1, -1, new, -1)
        # A padded query attends at least to its prompt, so no row of the softmax is empty.
        return torch.cat([before, own], dim=-1)


def _by_key_head(query: Tensor, key: Tensor) -> Tensor:
    """(R, H, 1, D) -> (R, H_kv, r, D): the r queries that share a key head."""
    return query.view(len(query), key.shape[1], -1, query.shape[-1])


def _bias(hidden: Tensor) -> Tensor:
    """0 where attention may look, minus infinity where it may not."""
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, -torch.inf)
