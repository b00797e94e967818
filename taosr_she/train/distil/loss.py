"""Soft cross-entropy of a student's label with a teacher's label distribution, on packed sequences."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.engine.labelled import labelled_logits
from taosr_she.engine.logprobs import chosen_logprobs
from taosr_she.engine.precision import computing
from taosr_she.model.label_probs import label_tokens
from taosr_she.train.sft.loop import Loss

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class SoftExample(NamedTuple):
    """A pair's prompt with a whole response, `[label] CODE` and the end token, and what to learn instead of the code.

    The rest of the response is learnt as it is, so that the student also writes well-formed responses.
    """

    ids: list[int]
    labels: tuple[float, ...]  # (L,) target distribution over the domain's label codes, adding up to 1
    begin: int  # number of tokens of the prompt
    place: int  # position in `ids` of the token in which the codes differ


class SoftExamples:
    """Makes examples for one student. UserError if its tokenizer begins several codes with the same token."""

    def __init__(self, policy: "Policy", domain: Domain, temperature: float, human: float) -> None:
        tokens = label_tokens(policy, domain)
        if tokens.firsts is None:
            raise UserError(
                "distil: the student's tokenizer begins several label codes with the same token, so that one position "
                "does not hold the distribution: use other codes in the domain, or another model"
            )
        self.firsts: list[int] = tokens.firsts
        self._policy, self._domain, self._shared = policy, domain, len(tokens.shared)
        self._temperature, self._human = temperature, human
        self._header = len(policy.encode_response(domain.label_header)) - 1

    def example(self, prompt: Sequence[int], teacher: Mapping[str, float], label: str | None) -> SoftExample:
        """From a prompt, the teacher's distribution (code -> probability), and the human label if there is one."""
        codes = self._domain.codes
        target = softened([teacher[code] for code in codes], self._temperature)
        if label is not None:
            target = [
                (1 - self._human) * p + self._human * (code == label) for code, p in zip(codes, target, strict=True)
            ]
        likeliest = codes[max(range(len(codes)), key=lambda i: target[i])]
        response = self._policy.encode_response(f"{self._domain.label_header} {likeliest}")
        place = len(prompt) + self._header + self._shared
        return SoftExample([*prompt, *response], tuple(target), len(prompt), place)

    def loss(self) -> Loss:
        """The loss of these examples, for `train_sft`."""
        return Loss(partial(soft_backward, firsts=self.firsts, temperature=self._temperature), len)


def softened(probabilities: Sequence[float], temperature: float) -> list[float]:
    """The distribution p ** (1 / temperature), normalised.

    >>> [round(p, 3) for p in softened([0.8, 0.2, 0.0], 2.0)]
    [0.667, 0.333, 0.0]
    """
    weights = [p ** (1 / temperature) for p in probabilities]
    return [w / sum(weights) for w in weights]


def soft_backward(
    model: Any,
    batches: Sequence[Sequence[SoftExample]],
    precision: str,
    count: float,
    firsts: Sequence[int],
    temperature: float,
) -> float:
    """Add the gradient of the loss over all the batches, one batch after another; returns the loss.

    It is the sum over examples, divided by `count`, of -T^2 * sum of target * log softmax(logits / T) at the label plus
    the mean -log p of the other tokens of the response. The softmax is over the whole vocabulary: what the student
    writes there must be a code.
    """
    total = 0.0
    for batch in batches:
        with computing(model, precision):
            loss = _loss(model, batch, firsts, temperature).sum() / count
        loss.backward()
        total += float(loss.detach())
    return total


def _loss(model: Any, batch: Sequence[SoftExample], firsts: Sequence[int], temperature: float) -> Tensor:
    """(B,) the loss of each example."""
    learnt = [(b, i) for b, e in enumerate(batch) for i in range(e.begin, len(e.ids)) if i != e.place]
    places = [(b, e.place) for b, e in enumerate(batch)]
    rows, positions = zip(*learnt, *places, strict=True)
    # A token is predicted after the one before it; nothing follows the last, so it is not an input.
    scores = labelled_logits(model, [e.ids[:-1] for e in batch], rows, [i - 1 for i in positions])
    device = scores.device
    form = -chosen_logprobs(scores[: len(learnt)], torch.tensor([batch[b].ids[i] for b, i in learnt], device=device))
    of = torch.tensor([b for b, _ in learnt], device=device)
    sizes = torch.bincount(of, minlength=len(batch)).to(form.dtype)
    logp = (scores[len(learnt) :].float() / temperature).log_softmax(dim=-1)[:, list(firsts)]  # (B, L)
    targets = torch.tensor([e.labels for e in batch], device=device)
    soft = -(targets * logp).sum(dim=1) * temperature**2
    return soft + torch.zeros_like(soft).index_add(0, of, form) / sizes
