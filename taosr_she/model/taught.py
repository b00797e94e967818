"""Examples that train on a part of a response: on the form of all steps, but not on all of their conclusions."""

from collections.abc import Collection
from random import Random
from typing import TYPE_CHECKING

from taosr_she.domain.domain import Domain
from taosr_she.domain.response import find_headers, parse_response
from taosr_she.domain.spans import decode_response, token_ends, token_steps
from taosr_she.model.example import IGNORE, Example

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


def teach_steps(policy: "Policy", domain: Domain, prompt: list[int], text: str, taught: Collection[str]) -> Example:
    """Train on every section header and on the conclusions of the steps `taught`; other conclusions are only context.

    The text may be a part of a response, an exercise. If it stops before the last step, the next header is trained on
    instead of the end token, so that the model learns where the step ends. If it begins with a later step, that header
    is given, not trained on: the model shall not learn to leave out the steps before it.
    """
    headers = find_headers(text)
    end, given = headers[-1].key == domain.step_keys[-1], headers[0].key != domain.step_keys[0]
    if not end:
        last = domain.step_keys.index(headers[-1].key)
        text += f"\n[{domain.step_keys[last + 1]}]"
    ids = policy.encode_response(text)[: None if end else -1]
    steps = _concluding(policy, domain, ids, end)
    kept = [step is None or domain.step_keys[step] in taught for step in steps]
    if given:
        opening = next((i for i, step in enumerate(steps) if step is not None), 0)
        kept[:opening] = [False] * opening
    labels = [token if keep else IGNORE for token, keep in zip(ids, kept, strict=True)]
    return Example([*prompt, *ids], [IGNORE] * len(prompt) + labels)


def mask_reasoning(policy: "Policy", domain: Domain, example: Example, share: float, draws: Random) -> Example:
    """The example of a whole response without loss on a random `share` of the tokens of its reasoning: of all
    conclusions but the label. The label, the headers and the end token keep theirs.

    With the label first, nothing before the label can lean on the reasoning. But the loss is a mean over tokens, of
    which the label is one or two of fifty: masking moves weight from the reasoning to the label. Source: the start of
    training in Graph-GRPO (2605.31003), which masks tokens of the reasoning at random and always learns the label.
    """
    begin = next(i for i, label in enumerate(example.labels) if label != IGNORE)
    ids, labels = example.ids[begin:], list(example.labels)
    for i, step in enumerate(_concluding(policy, domain, ids), start=begin):
        if step is not None and step != domain.label_step and draws.random() < share:
            labels[i] = IGNORE
    return example._replace(labels=labels)


def weigh_label(policy: "Policy", domain: Domain, example: Example, prompt: int, weight: float) -> Example:
    """The example, whose prompt has `prompt` tokens, with this weight for every token of the label, 1 for the others.

    A label is one or two of fifty tokens, so without it, what a model has learnt about labels fades while it learns to
    write the steps. An exercise that ends before the label stays as it is.
    """
    weights = [1.0] * len(example.ids)
    for i, step in enumerate(_concluding(policy, domain, example.ids[prompt:]), start=prompt):
        if step == domain.label_step:
            weights[i] = weight
    return example._replace(weights=weights) if weight in weights else example


def _concluding(policy: "Policy", domain: Domain, ids: list[int], end: bool = True) -> list[int | None]:
    """The step to whose conclusion each token of a response belongs; None for headers and, with `end`, the end."""
    response = parse_response(domain, decode_response(policy.tokenizer, ids))
    headers = find_headers(response.text)
    steps, ends = token_steps(domain, policy.tokenizer, ids, response), token_ends(policy.tokenizer, ids)
    found: list[int | None] = []
    for step, start, stop in zip(steps, [0, *ends[:-1]], ends, strict=True):
        form = any(start < header.end and stop > header.start for header in headers)
        closing = end and start == stop  # the end token
        found.append(None if form or closing else step)
    return found
