"""The distribution over the label scale, from one forward pass."""

from collections.abc import Sequence

import numpy as np
import torch

from taosr_she.domain.domain import Domain
from taosr_she.model.logprobs import response_logprobs
from taosr_she.model.policy import Policy


def label_distribution(
    policy: Policy, domain: Domain, contexts: Sequence[list[int]], batch_rows: int = 256
) -> np.ndarray:
    """contexts: N token lists that end right after the label section's header -> (N, L) over `domain.codes`, rows sum to 1.

    Where every code starts with another token, one pass over the contexts is enough; otherwise each whole code is scored
    as a continuation of each context.
    """
    prefix, codes = code_tokens(policy, domain)
    first = [tokens[0] for tokens in codes]
    rows = []
    with torch.inference_mode():
        for start in range(0, len(contexts), batch_rows):
            part = [context + prefix for context in contexts[start : start + batch_rows]]
            if len(set(first)) == len(first):
                rows.append(_by_first_token(policy, part, first))
            else:
                rows.append(_by_whole_code(policy, part, codes))
    return np.concatenate(rows) if rows else np.zeros((0, len(codes)))


def code_tokens(policy: Policy, domain: Domain) -> tuple[list[int], list[list[int]]]:
    """What follows the label section's header: tokens common to all codes (a space), and the rest of each code."""
    key = domain.step_keys[domain.label_step]
    header = policy.tokenizer(f"[{key}]", add_special_tokens=False)["input_ids"]
    codes = []
    for code in domain.codes:
        whole = policy.tokenizer(f"[{key}] {code}", add_special_tokens=False)["input_ids"]
        shared = next((i for i, (a, b) in enumerate(zip(header, whole, strict=False)) if a != b), len(header))
        codes.append(whole[shared:])
    prefix: list[int] = []
    while len({tokens[0] for tokens in codes}) == 1 and all(len(tokens) > 1 for tokens in codes):
        prefix.append(codes[0][0])
        codes = [tokens[1:] for tokens in codes]
    return prefix, codes


def _by_first_token(policy: Policy, contexts: Sequence[list[int]], first: list[int]) -> np.ndarray:
    width = max(map(len, contexts))
    ids = torch.full((len(contexts), width), policy.pad_id, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for row, context in enumerate(contexts):
        ids[row, : len(context)] = torch.tensor(context)
        attention[row, : len(context)] = 1
    ids, attention = ids.to(policy.device), attention.to(policy.device)
    hidden = policy.model.base_model(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(contexts), device=policy.device), attention.sum(dim=1) - 1]
    logits = policy.model.get_output_embeddings()(last).float()
    return logits[:, first].softmax(dim=-1).cpu().numpy()


def _by_whole_code(policy: Policy, contexts: Sequence[list[int]], codes: list[list[int]]) -> np.ndarray:
    length = max(map(len, codes))
    ids = torch.zeros((len(contexts) * len(codes), length), dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    prompts = []
    for row in range(len(ids)):
        context, tokens = contexts[row // len(codes)], codes[row % len(codes)]
        prompts.append(context)
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = True
    logp, _ = response_logprobs(policy.model, prompts, ids.to(policy.device), mask.to(policy.device), 1.0)
    return logp.sum(dim=1).view(len(contexts), len(codes)).softmax(dim=1).cpu().numpy()
