"""Flash attention over concatenated sequences, computed slowly from its formula."""

import torch


def flash_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, of: torch.Tensor, to: torch.Tensor, longest: int,
    longest_key: int, dropout: float, causal: bool, debug: bool, *, scale: float, seqused_k: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """What the kernel of flash attention computes from the bounds of sequences, sequence by sequence."""
    assert not causal
    assert not dropout
    assert not debug
    assert key.is_contiguous() and value.is_contiguous()  # the kernel would copy otherwise
    out, sums = torch.full_like(query, torch.nan), query.new_full(query.shape[1::-1], torch.nan)
    repeats = query.shape[1] // key.shape[1]
    for s in range(len(of) - 1):
        assert of[s + 1] - of[s] <= longest and to[s + 1] - to[s] <= longest_key
        q = slice(int(of[s]), int(of[s + 1]))
        end = int(to[s + 1]) if seqused_k is None else int(to[s] + seqused_k[s])
        k, v = (t[int(to[s]) : end].repeat_interleave(repeats, dim=1) for t in (key, value))
        scores = torch.einsum("nhd,mhd->hnm", query[q], k) * scale
        sums[:, q] = scores.logsumexp(dim=-1)
        out[q] = torch.einsum("hnm,mhd->nhd", scores.softmax(dim=-1), v)
    return out, sums
