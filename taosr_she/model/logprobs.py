"""Log-probabilities of given responses, with gradient: the exact plain path of the policy update."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def response_logprobs(
    model: Any, prompts: Sequence[list[int]], ids: Tensor, mask: Tensor, temperature: float, with_entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """prompts: B lists of token ids; ids (B, T) response tokens, mask (B, T) bool -> logp (B, T), entropy (B, T) or None.

    Both are 0 outside the mask, and computed at `temperature` (as the sampler does). Prompt and response stand together,
    padded on the right; the LM head sees response positions only, since logits over prompt and padding would cost more
    memory than all the rest.
    """
    batch, length = ids.shape
    lengths = mask.sum(dim=1).tolist()
    width = max(len(p) + n for p, n in zip(prompts, lengths, strict=True))
    whole = torch.zeros((batch, width), dtype=torch.long, device=ids.device)
    attention = torch.zeros_like(whole)
    source = torch.zeros((batch, length), dtype=torch.long, device=ids.device)  # position whose output predicts the token
    for row, (prompt, n) in enumerate(zip(prompts, lengths, strict=True)):
        p = len(prompt)
        whole[row, :p] = torch.tensor(prompt, device=ids.device)
        whole[row, p : p + n] = ids[row, :n]
        attention[row, : p + n] = 1
        source[row] = p - 1
    offsets = torch.arange(length, device=ids.device)
    source = (source + offsets).clamp(max=width - 1)
    hidden = model.base_model(input_ids=whole, attention_mask=attention, use_cache=False).last_hidden_state  # (B, W, D)
    rows = torch.arange(batch, device=ids.device)[:, None].expand(batch, length)[mask]
    logits = model.get_output_embeddings()(hidden[rows, source[mask]]).float()  # (tokens, V)
    if temperature not in (0, 1):
        logits = logits / temperature
    every = torch.log_softmax(logits, dim=-1)
    logp = torch.zeros((batch, length), device=ids.device)
    logp = logp.masked_scatter(mask, every.gather(1, ids[mask][:, None])[:, 0])
    if not with_entropy:
        return logp, None
    with torch.no_grad():
        entropy = torch.zeros((batch, length), device=ids.device)
        entropy[mask] = -(every.exp() * every).sum(dim=-1)
    return logp, entropy
