"""Log-probabilities of given responses: the exact path that the trainer differentiates."""

from collections.abc import Sequence
from typing import Any

import torch


def response_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    ids: torch.Tensor,
    mask: torch.Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities (B, T) of response tokens `ids` (B, T), and per-token entropies (B, T) in nats if asked for.

    Row b is `prompts[b]` followed by its tokens, `mask[b]` of which the first are True. Both are those of the softmax
    at `temperature`, 0 where the mask is False. Log-probabilities carry gradients where the caller has them enabled;
    entropies never do. Prompt positions get no logits: see `logits_at`.
    """
    if temperature <= 0:
        raise ValueError(f"log-probabilities need a temperature above 0, not {temperature}")
    lengths = mask.sum(dim=1).tolist()
    sequences = [p + row[:n] for p, row, n in zip(prompts, ids.tolist(), lengths, strict=True)]
    starts = torch.tensor([len(p) - 1 for p in prompts], device=ids.device)
    rows, columns = mask.nonzero(as_tuple=True)  # (N,) each
    # The last token of a response is predicted but predicts nothing.
    scores = logits_at(model, [s[:-1] for s in sequences], rows, starts[rows] + columns)  # (N, V)
    if temperature != 1:
        scores = scores / temperature
    total = scores.logsumexp(dim=-1)
    chosen = scores.gather(-1, ids[mask][:, None])[:, 0] - total
    logprobs = chosen.new_zeros(mask.shape).masked_scatter(mask, chosen)
    if not with_entropy:
        return logprobs, None
    with torch.no_grad():
        logp = scores - total[:, None]
        each = -(logp.exp() * logp).sum(dim=-1)
        return logprobs, each.new_zeros(mask.shape).masked_scatter(mask, each)


def logits_at(model: Any, sequences: Sequence[list[int]], rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits (N, V) in float32 after the tokens at `positions` (N,) of the sequences `rows` (N,).

    Sequences are padded on the right and run without an attention mask: a causal model never looks to the right, and
    attention is fastest so. The hidden states of the N positions are picked just before the output layer, inside the
    model's own forward pass, so what an architecture does to its logits afterwards (scaling, soft caps) is kept, and
    no other position costs a row of vocabulary size.
    """
    device = model.get_input_embeddings().weight.device
    width = max(map(len, sequences))
    padded = torch.tensor([s + [0] * (width - len(s)) for s in sequences], device=device)
    rows, positions = rows.to(device), positions.to(device)

    def pick(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (args[0][rows, positions][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        logits: torch.Tensor = model(input_ids=padded, use_cache=False).logits
    finally:
        handle.remove()
    return logits[0].float()
