"""The label distribution: the model's probabilities of the labels at the position of the label."""

from collections.abc import Sequence

import numpy as np
import torch

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response
from taosr_she.domain.spans import token_ends
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.engine.shared_prefix import next_logits
from taosr_she.model.policy import Policy


@torch.inference_mode()
def label_distribution(
    policy: Policy, domain: Domain, contexts: Sequence[list[int]], batch_rows: int = 256
) -> np.ndarray:
    """Probabilities (N, L) float64 over the label codes, rows adding up to 1; columns as in `domain.codes`.

    Each context is the token ids of a prompt and the response up to and including the label's header. If the codes
    begin with different tokens, as they nearly always do, one forward pass gives the probabilities of these tokens.
    Otherwise whole codes are scored. At most `batch_rows` sequences are run at a time; contexts of similar length go
    together.
    """
    codes = code_tokens(policy, domain)
    shared = _shared_prefix(codes)
    firsts = [code[len(shared)] for code in codes if len(code) > len(shared)]
    one_pass = len(set(firsts)) == len(codes)
    step = max(1, batch_rows // (1 if one_pass else len(codes)))
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))
    scores = np.zeros((len(contexts), len(codes)))
    with policy.evaluating():
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            chosen = [contexts[i] + shared for i in rows]
            if one_pass:
                scores[rows] = _first_token_scores(policy, chosen, firsts)
            else:
                scores[rows] = _whole_code_scores(policy, chosen, [code[len(shared) :] for code in codes])
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    normalised: np.ndarray = probabilities / probabilities.sum(axis=1, keepdims=True)
    return normalised


def label_position(domain: Domain, policy: Policy, ids: list[int], response: Response) -> int:
    """Number of generated tokens before the label, including the header of the label section."""
    step = response.steps[domain.label_step]
    if step is None:
        return len(ids)
    header_end = step.start + len(step.key) + 2
    ends = token_ends(policy.tokenizer, ids)
    return next((i + 1 for i, end in enumerate(ends) if end >= header_end), len(ids))


def code_tokens(policy: Policy, domain: Domain) -> list[list[int]]:
    """The tokens of each label code after the label's header and a space."""
    header = f"[{domain.steps[domain.label_step].key}]"
    start = policy.encode_response(header)[:-1]
    codes = []
    for code in domain.codes:
        whole = policy.encode_response(f"{header} {code}")[:-1]
        if whole[: len(start)] != start or len(whole) == len(start):
            raise UserError(f"the model's tokenizer joins '{header}' with label '{code}': use another header or code")
        codes.append(whole[len(start) :])
    if len({tuple(code) for code in codes}) < len(codes):
        raise UserError("the model's tokenizer cannot tell the label codes apart: use other codes in the domain")
    return codes


def _shared_prefix(codes: list[list[int]]) -> list[int]:
    """Tokens that all codes begin with, such as a separate space."""
    shared = []
    for tokens in zip(*codes, strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    return shared


def _first_token_scores(policy: Policy, contexts: list[list[int]], firsts: list[int]) -> np.ndarray:
    logits = next_logits(policy.model, contexts)
    scores: np.ndarray = logits[:, firsts].double().cpu().numpy()
    return scores


def _whole_code_scores(policy: Policy, contexts: list[list[int]], codes: list[list[int]]) -> np.ndarray:
    """Log-probabilities (N, L) of whole codes. If a code continues another ("10" continues "1"), its probability is
    subtracted from the shorter code; otherwise the shorter code would always win."""
    n, width = len(contexts), max(map(len, codes))
    ids = torch.tensor([code + [0] * (width - len(code)) for code in codes], device=policy.device).repeat(n, 1)
    mask = torch.tensor([[t < len(code) for t in range(width)] for code in codes], device=policy.device).repeat(n, 1)
    repeated = [context for context in contexts for _ in codes]
    logprobs, _ = response_logprobs(policy.model, repeated, ids, mask)
    begun = logprobs.double().sum(dim=1).view(n, len(codes)).exp().cpu().numpy()
    exact = begun.copy()
    by_length = sorted(range(len(codes)), key=lambda i: len(codes[i]))
    for i in by_length:
        shorter = [j for j in by_length if len(codes[j]) < len(codes[i]) and codes[i][: len(codes[j])] == codes[j]]
        if shorter:
            exact[:, shorter[-1]] -= begun[:, i]
    scores: np.ndarray = np.log(np.maximum(exact, np.finfo(float).tiny))
    return scores
