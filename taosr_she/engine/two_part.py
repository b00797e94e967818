"""Attention of prompts and responses in one row, on a CPU: a response attends to its prompt and itself in two parts.

All responses to a prompt attend to its keys in one call, so keys and values are not copied to each response and no mask
is needed. The log-sum-exps of both parts combine them into one softmax. The gradient of each part is that of attention
with the sums of the whole (Liu, Zaharia and Abbeel 2023, 2310.01889, use this between devices).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taosr_she.engine import dense
from taosr_she.engine.ragged import Ragged


class TwoParts:
    """Which tokens of a row belong together: C prompts, then B responses in the order of their prompts."""

    def __init__(self, prompts: Ragged, responses: Ragged, group: Tensor) -> None:
        """`group` (B,) is the prompt of each response, in increasing order."""
        self.prompts, self.responses = prompts, responses
        tokens = torch.zeros(len(prompts.lengths), dtype=torch.long)
        tokens.index_add_(0, group, torch.tensor(responses.lengths, dtype=torch.long))
        self.groups = Ragged(tokens.tolist(), group.device)  # the tokens of all responses to a prompt
        self.begin = sum(prompts.lengths)
        hidden = torch.zeros(prompts.used.shape).masked_fill_(~prompts.used, -torch.inf)
        self._bias = None if prompts.even else hidden[:, None, None]  # (C, 1, 1, W)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (N, H, D), keys and values (N, H_kv, D) of the whole row -> (N, H, D)."""
        if torch.is_autocast_enabled("cpu"):
            query, key, value = (t.to(torch.get_autocast_dtype("cpu")) for t in (query, key, value))
        out: Tensor = _TwoPart.apply(query, key, value, self, scale)
        return out

    def mask(self, dtype: torch.dtype) -> Tensor | None:
        """Bias that hides the padding of prompts from responses, added to the scores: (C, 1, L, W) or None."""
        return None if self._bias is None else self._bias.to(dtype).expand(-1, 1, self.groups.width, -1)


def attend_with_sums(query: Tensor, key: Tensor, value: Tensor, parts: TwoParts, scale: float) -> tuple[Tensor, Tensor]:
    """As `TwoParts.attend`, without gradients or autocast; also the log-sum-exps of the scores (N, H)."""
    sizes = [parts.begin, len(query) - parts.begin]
    (q0, q1), (k0, k1), (v0, v1) = (t.split(sizes) for t in (query, key, value))
    out = query.new_empty(query.shape)
    sums = query.new_empty(query.shape[:2], dtype=torch.promote_types(query.dtype, torch.float32))
    (out0, out1), (sums0, sums1) = out.split(sizes), sums.split(sizes)
    keys, values = _heads_first(parts.prompts, k0), _heads_first(parts.prompts, v0)
    x, total = _forward(_heads_first(parts.prompts, q0), keys, values, True, scale)
    out0.copy_(_tokens_first(parts.prompts, x))
    sums0.copy_(_tokens_first(parts.prompts, total))
    if sizes[1]:
        x, of_prompt = _forward(_heads_first(parts.groups, q1), keys, values, False, scale, parts.mask(query.dtype))
        q_own, k_own, v_own = (_heads_first(parts.responses, t) for t in (q1, k1, v1))
        y, of_own = _forward(q_own, k_own, v_own, True, scale)
        of_prompt, of_own = _tokens_first(parts.groups, of_prompt), _tokens_first(parts.responses, of_own)
        torch.logaddexp(of_prompt, of_own, out=sums1)
        torch.mul(_tokens_first(parts.groups, x), (of_prompt - sums1).exp_()[..., None], out=out1)
        out1.addcmul_(_tokens_first(parts.responses, y), (of_own - sums1).exp_()[..., None])
    return out, sums


class _TwoPart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: TwoParts, scale: float) -> Tensor:
        out, sums = attend_with_sums(query, key, value, parts, scale)
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.parts, ctx.scale = parts, scale
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        query, key, value, out, sums = ctx.saved_tensors
        parts, scale = ctx.parts, ctx.scale
        sizes = [parts.begin, len(query) - parts.begin]
        (q0, q1), (k0, k1), (v0, v1), (out0, out1), (sums0, sums1), (g0, g1) = (
            t.split(sizes) for t in (query, key, value, out, sums, gradient)
        )
        result = [t.new_empty(t.shape) for t in (query, key, value)]
        keys, values = _heads_first(parts.prompts, k0), _heads_first(parts.prompts, v0)

        def back(
            ragged: Ragged,
            g: Tensor,
            q: Tensor,
            k: Tensor,
            v: Tensor,
            o: Tensor,
            s: Tensor,
            causal: bool,
            mask: Tensor | None = None,
        ) -> Sequence[Tensor]:
            # A padded query has no gradient; with an infinite sum its weights are 0.
            g, s = ragged.filled(g, 0.0).transpose(1, 2), ragged.filled(s, torch.inf).transpose(1, 2).contiguous()
            return _backward(g, _heads_first(ragged, q), k, v, _heads_first(ragged, o), s, causal, scale, mask)

        of_prompts = back(parts.prompts, g0, q0, keys, values, out0, sums0, True)
        if sizes[1]:
            shared = back(parts.groups, g1, q1, keys, values, out1, sums1, False, parts.mask(query.dtype))
            own = back(
                parts.responses, g1, q1, _heads_first(parts.responses, k1), _heads_first(parts.responses, v1), out1,
                sums1, True,
            )  # fmt: skip
            for whole, mine in zip(result, own, strict=True):
                whole[parts.begin :].copy_(_tokens_first(parts.responses, mine))
            result[0][parts.begin :].add_(_tokens_first(parts.groups, shared[0]))
            for mine, more in zip(of_prompts[1:], shared[1:], strict=True):
                mine.add_(more)
        for whole, mine in zip(result, of_prompts, strict=True):
            whole[: parts.begin].copy_(_tokens_first(parts.prompts, mine))
        return result[0], result[1], result[2], None, None


def _forward(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, mask: Tensor | None = None
) -> Sequence[Tensor]:
    """The attention and its log-sum-exps, heads first."""
    if query.dtype == torch.bfloat16:
        return dense.forward(query, key, value, causal, scale, mask)
    return flash(query, key, value, causal, scale, mask)


def flash(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, mask: Tensor | None = None
) -> Sequence[Tensor]:
    """torch's own kernel: attention (S, H, L, D) and the log-sum-exps of its scores (S, H, L)."""
    found: Sequence[Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=mask, scale=scale
    )
    return found


def _backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    causal: bool,
    scale: float,
    mask: Tensor | None,
) -> Sequence[Tensor]:
    """Gradients of queries, keys and values; `out` and `sums` are those of the whole attention."""
    if query.dtype == torch.bfloat16:
        return dense.backward(gradient, query, key, value, out, sums, causal, scale, mask)
    found: Sequence[Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        gradient, query, key, value, out, sums, 0.0, causal, attn_mask=mask, scale=scale
    )
    return found


def _heads_first(ragged: Ragged, flat: Tensor) -> Tensor:
    """(N, H, ...) -> (S, H, longest, ...), with arbitrary values in the padding."""
    return ragged.rows(flat).transpose(1, 2)


def _tokens_first(ragged: Ragged, rows: Tensor) -> Tensor:
    """The reverse."""
    return ragged.flat(rows.transpose(1, 2))
