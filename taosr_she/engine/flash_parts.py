"""Attention of prompts and responses in one row, on a GPU: a response attends to its prompt and itself in two parts.

The same as engine/two_part.py on a CPU, with flash attention (Dao 2023, 2307.08691) over concatenated sequences. It
needs only their bounds, so nothing is padded, copied or masked. Half precision only, as the kernels require.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taosr_she.engine.compiled import merged
from taosr_she.engine.masked import Masked
from taosr_she.engine.ragged import Ragged

_forward = torch.ops.aten._flash_attention_forward
_backward = torch.ops.aten._flash_attention_backward


class Bounds(NamedTuple):
    """The bounds of sequences (S + 1,) int32, and the length of the longest."""

    at: Tensor
    longest: int


def _bounds(lengths: Sequence[int], device: torch.device) -> Bounds:
    ends = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
    return Bounds(ends, max(lengths, default=0))


class FlashParts:
    """Which tokens of a row belong together: C prompts, then B responses in the order of their prompts."""

    def __init__(self, prompts: Ragged, responses: Ragged, group: Tensor) -> None:
        """`group` (B,) is the prompt of each response, in increasing order."""
        tokens = [0] * len(prompts.lengths)  # of all responses to a prompt
        for prompt, length in zip(group.tolist(), responses.lengths, strict=True):
            tokens[prompt] += length
        self.begin = sum(prompts.lengths)
        self.prompts, self.groups, self.responses = (
            _bounds(lengths, group.device) for lengths in (prompts.lengths, tokens, responses.lengths)
        )
        self._masked = lambda: Masked(prompts, responses, group)
        self._other: Masked | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (N, H, D), keys and values (N, H_kv, D) of the whole row -> (N, H, D)."""
        if torch.is_autocast_enabled("cuda"):
            query, key, value = (t.to(torch.get_autocast_dtype("cuda")) for t in (query, key, value))
        if not has_kernel(query):
            self._other = self._other or self._masked()
            return self._other.attend(query, key, value, scale)
        out: Tensor = _FlashParts.apply(query, key, value, self, scale)
        return out


def has_kernel(query: Tensor) -> bool:
    """Whether flash attention supports these: half precision, head sizes up to 256 in steps of 8, Ampere or newer."""
    if query.dtype not in (torch.float16, torch.bfloat16) or query.shape[-1] % 8 or query.shape[-1] > 256:
        return False
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(query.device) >= (
        8,
        0,
    )


class _FlashParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: FlashParts, scale: float) -> Tensor:
        sizes = [parts.begin, len(query) - parts.begin]
        (q0, q1), (k0, k1), (v0, v1) = (t.split(sizes) for t in (query, key, value))
        out = query.new_empty(query.shape)
        out0, out1 = out.split(sizes)
        x, sums0 = attend(q0, k0, v0, parts.prompts, parts.prompts, True, scale)  # sums (H, N): logarithms
        out0.copy_(x)
        sums1 = sums0.new_empty(sums0.shape[0], 0)
        if sizes[1]:
            x, of_prompt = attend(q1, k0, v0, parts.groups, parts.prompts, False, scale)
            y, of_own = attend(q1, k1, v1, parts.responses, parts.responses, True, scale)
            both, sums1 = merged(x, of_prompt, y, of_own)
            out1.copy_(both)
        ctx.save_for_backward(query, key, value, out, sums0, sums1)
        ctx.parts, ctx.scale = parts, scale
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        query, key, value, out, sums0, sums1 = ctx.saved_tensors
        parts: FlashParts = ctx.parts
        sizes = [parts.begin, len(query) - parts.begin]
        (q0, q1), (k0, k1), (v0, v1), (out0, out1), (g0, g1) = (
            t.split(sizes) for t in (query, key, value, out, gradient.contiguous())
        )

        def back(g: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, s: Tensor, of: Bounds, to: Bounds,
                 causal: bool) -> Sequence[Tensor]:  # fmt: skip
            state = torch.zeros(2, dtype=torch.uint64, device=q.device)  # of dropout, of which there is none
            gradients: Sequence[Tensor] = _backward(
                g, q, k, v, o, s, of.at, to.at, of.longest, to.longest, 0.0, causal, state, state, scale=ctx.scale
            )
            return gradients

        result = [t.new_empty(t.shape) for t in (query, key, value)]
        of_prompts = back(g0, q0, k0, v0, out0, sums0, parts.prompts, parts.prompts, True)
        for whole, mine in zip(result, of_prompts, strict=True):
            whole[: parts.begin].copy_(mine)
        if sizes[1]:
            # Each part uses the sums of the whole, so its weights are those of the common softmax.
            shared = back(g1, q1, k0, v0, out1, sums1, parts.groups, parts.prompts, False)
            own = back(g1, q1, k1, v1, out1, sums1, parts.responses, parts.responses, True)
            torch.add(own[0], shared[0], out=result[0][parts.begin :])
            for whole, mine, more in zip(result[1:], own[1:], shared[1:], strict=True):
                whole[parts.begin :].copy_(mine)
                whole[: parts.begin].add_(more)
        return result[0], result[1], result[2], None, None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    of: Bounds,
    to: Bounds,
    causal: bool,
    scale: float,
    used: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Each sequence of queries (N, H, D) attends to its sequence of keys: (N, H, D), and the log-sum-exps (H, N).

    Of sequence s of keys, only the first `used[s]` (S,) int32 are seen.
    """
    out, sums, *_ = _forward(
        query, key, value, of.at, to.at, of.longest, to.longest, 0.0, causal, False, scale=scale, seqused_k=used
    )
    return out, sums
