"""The label distribution: the model's probabilities of the labels at the position of the label."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response
from taosr_she.domain.spans import token_ends
from taosr_she.engine.shared_prefix import next_logits, shared_logprobs
from taosr_she.model.policy import Policy, evaluating
from taosr_she.model.sampler import Rollouts
from taosr_she.ranks.work import deal, split


class LabelTokens(NamedTuple):
    """Tokens of the L label codes of a domain after the label's header."""

    shared: list[int]  # tokens with which all codes begin, such as a separate space
    rests: list[list[int]]  # the remaining tokens of each code; empty if a code has only the shared ones

    @property
    def firsts(self) -> list[int] | None:
        """The tokens at which the codes differ; None if several codes share it, so that one position is not enough."""
        firsts = [rest[0] for rest in self.rests if rest]
        return firsts if len(set(firsts)) == len(self.rests) else None


def label_tokens(policy: Policy, domain: Domain) -> LabelTokens:
    """Raises UserError if the tokenizer merges a code with the header, or cannot tell two codes apart."""
    codes = code_tokens(policy, domain)
    shared = _shared_prefix(codes)
    return LabelTokens(shared, [code[len(shared) :] for code in codes])


@torch.inference_mode()
def read_labels(
    policy: Policy,
    domain: Domain,
    tokens: LabelTokens,
    prompts: Sequence[list[int]],
    rollouts: Rollouts,
    responses: Sequence[Response],
    batch_rows: int = 256,
) -> list[np.ndarray | None]:
    """For each of B responses (L,) probabilities over the label codes; None without a label section.

    `prompts[rollouts.group[b]]` is the prompt of response b. If the codes begin with different tokens, and
    `rollouts.watched` has their logits (`LabelTokens.firsts`), the model is not run: decoding has already computed the
    logits at the position of the code. Responses that end there or continue with something other than a code, and codes
    that begin with the same token, use `label_distribution`.
    """
    found: list[np.ndarray | None] = [None] * len(responses)
    missing, contexts = [], []
    generated = [row[keep].tolist() for row, keep in zip(rollouts.ids, rollouts.mask, strict=True)]
    for b, (ids, response) in enumerate(zip(generated, responses, strict=True)):
        if response.steps[domain.label_step] is None:
            continue
        begin = label_position(domain, policy, ids, response)
        place = begin + len(tokens.shared)
        if rollouts.watched.shape[-1] and place < len(ids) and ids[begin:place] == tokens.shared:
            found[b] = _normalised(rollouts.watched[b, place].double().numpy())
        else:
            missing.append(b)
            contexts.append(prompts[int(rollouts.group[b])] + ids[:begin])
    for b, row in zip(missing, label_distribution(policy, domain, contexts, batch_rows), strict=True):
        found[b] = row
    return found


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
    tokens = label_tokens(policy, domain)
    shares = deal(sorted(range(len(contexts)), key=lambda i: len(contexts[i])))
    scores = np.zeros((len(contexts), len(domain.codes)))
    asked = [[contexts[i] + tokens.shared for i in share] for share in shares]
    for rows, found in zip(shares, split(_scores, [policy.model], asked, tokens, batch_rows), strict=True):
        scores[rows] = found
    return _normalised(scores)


@torch.inference_mode()
def _scores(model: Any, contexts: Sequence[list[int]], tokens: LabelTokens, batch_rows: int) -> np.ndarray:
    """(N, L) logarithms of the codes' probabilities, up to a constant per row."""
    firsts, scores = tokens.firsts, np.zeros((len(contexts), len(tokens.rests)))
    step = max(1, batch_rows // (1 if firsts else len(tokens.rests)))
    with evaluating(model):
        for start in range(0, len(contexts), step):
            chosen = contexts[start : start + step]
            if firsts:
                scores[start : start + step] = _first_token_scores(model, chosen, firsts)
            else:
                scores[start : start + step] = _whole_code_scores(model, chosen, tokens.rests)
    return scores


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
    header = domain.label_header
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


def _normalised(scores: np.ndarray) -> np.ndarray:
    """Probabilities from scores (..., L), which are logarithms up to a constant per row."""
    probabilities = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normalised: np.ndarray = probabilities / probabilities.sum(axis=-1, keepdims=True)
    return normalised


def _first_token_scores(model: Any, contexts: Sequence[list[int]], firsts: list[int]) -> np.ndarray:
    logits = next_logits(model, contexts)
    scores: np.ndarray = logits[:, firsts].double().cpu().numpy()
    return scores


def _whole_code_scores(model: Any, contexts: Sequence[list[int]], codes: list[list[int]]) -> np.ndarray:
    """Log-probabilities (N, L) of whole codes. If a code continues another ("10" continues "1"), its probability is
    subtracted from the shorter code; otherwise the shorter code would always win."""
    n, width, device = len(contexts), max(map(len, codes)), model.get_input_embeddings().weight.device
    ids = torch.tensor([code + [0] * (width - len(code)) for code in codes], device=device).repeat(n, 1)
    mask = torch.tensor([[t < len(code) for t in range(width)] for code in codes], device=device).repeat(n, 1)
    group = torch.arange(n, device=device).repeat_interleave(len(codes))
    logprobs, _ = shared_logprobs(model, contexts, group, ids, mask)
    begun = logprobs.double().sum(dim=1).view(n, len(codes)).exp().cpu().numpy()
    exact = begun.copy()
    by_length = sorted(range(len(codes)), key=lambda i: len(codes[i]))
    for i in by_length:
        shorter = [j for j in by_length if len(codes[j]) < len(codes[i]) and codes[i][: len(codes[j])] == codes[j]]
        if shorter:
            exact[:, shorter[-1]] -= begun[:, i]
    scores: np.ndarray = np.log(np.maximum(exact, np.finfo(float).tiny))
    return scores
