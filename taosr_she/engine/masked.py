"""Attention of prompts and responses in one row, on a GPU: keys and values are copied to the responses and masked."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from taosr_she.engine.ragged import Ragged


class Masked:
    """Which tokens of a row belong together: C prompts, then B responses in the order of their prompts."""

    def __init__(self, prompts: Ragged, responses: Ragged, group: Tensor) -> None:
        """`group` (B,) is the prompt of each response, in increasing order."""
        self.prompts, self.responses, self.group = prompts, responses, group
        # 0 where a response token may attend (in its prompt and its response), otherwise minus infinity. It is added to
        # the scores; a boolean mask would be converted to this form again in every layer.
        width = responses.width
        causal = torch.ones(width, width, dtype=torch.bool, device=group.device).tril()
        seen = prompts.used[group][:, None, :].expand(-1, width, -1)
        visible = torch.cat([seen, causal.expand(len(group), -1, -1)], dim=2)[:, None]
        self.bias = torch.zeros(visible.shape, device=group.device).masked_fill_(
            ~visible, -torch.inf
        )  # (B, 1, T, W + T)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries (N, H, D), keys and values (N, H_kv, D) of the whole row -> (N, H, D)."""
        begin = sum(self.prompts.lengths)
        repeats = query.shape[1] // key.shape[1]
        # Split, not sliced: the gradient of a slice is as long as the whole row.
        both = [t.split([begin, len(t) - begin]) for t in (query, key, value)]  # 3 x 2 x (N, H, D)
        q, k, v = (self.prompts.rows(t).transpose(1, 2) for t, _ in both)  # (C, H, W, D)
        # Padding is on the right, where no prompt token attends.
        out = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=repeats > 1)
        parts = [self.prompts.flat(out.transpose(1, 2))]
        if self.responses.width:
            rows = [self.responses.rows(t).transpose(1, 2) for _, t in both]  # (B, H, T, D)
            keys = torch.cat([k.index_select(0, self.group), rows[1]], dim=2)
            values = torch.cat([v.index_select(0, self.group), rows[2]], dim=2)
            if repeats > 1:  # with a mask, a GPU's kernels do not share key heads
                keys, values = (t.repeat_interleave(repeats, dim=1) for t in (keys, values))
            out = scaled_dot_product_attention(rows[0], keys, values, attn_mask=self.bias.to(query.dtype), scale=scale)
            parts.append(self.responses.flat(out.transpose(1, 2)))
        return torch.cat(parts)
