"""Examples that train on some steps of a response: on the form of all steps, but only on these steps' conclusions."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from taosr_she.domain.domain import Domain
from taosr_she.domain.response import find_headers, parse_response
from taosr_she.domain.spans import decode_response, token_ends, token_steps
from taosr_she.model.example import IGNORE, Example

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


def teach_steps(
    policy: "Policy", domain: Domain, prompt: list[int], text: str, taught: Collection[str], end: bool = True
) -> Example:
    """Train on every section header and on the conclusions of the steps `taught`; other conclusions are only context.

    Without `end`, the text stops after a step. The next header is then trained on instead of the end token, so that the
    model learns where the step ends. Otherwise, the end token is trained on with the last step.
    """
    if not end:
        last = domain.step_keys.index(find_headers(text)[-1].key)
        text += f"\n[{domain.step_keys[last + 1]}]"
    ids = policy.encode_response(text)[: None if end else -1]
    response = parse_response(domain, decode_response(policy.tokenizer, ids))
    headers = find_headers(response.text)
    steps, ends = token_steps(domain, policy.tokenizer, ids, response), token_ends(policy.tokenizer, ids)
    labels = []
    for token, step, start, stop in zip(ids, steps, [0, *ends[:-1]], ends, strict=True):
        form = any(start < header.end and stop > header.start for header in headers)
        closing = end and start == stop  # the end token
        labels.append(token if form or closing or domain.step_keys[step] in taught else IGNORE)
    return Example([*prompt, *ids], [IGNORE] * len(prompt) + labels)
