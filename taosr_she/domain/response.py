"""The response format: named sections in the order of the step schema. Text to steps and label, and back.

A malformed response is a state with a reason, not an exception: reinforcement learning meets thousands of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from taosr_she.domain.domain import Domain

_HEADER = re.compile(r"^\[([a-z][a-z_]*)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One section of a response. `text` is the conclusion, without header and outer white space."""

    key: str
    text: str
    start: int  # character offset of the header's "[" in the response
    end: int  # offset of the next header's "[", or the length of the response


@dataclass(frozen=True, slots=True)
class Response:
    """A parsed response. `steps` has K entries in schema order, None where the section is missing."""

    text: str
    steps: tuple[Step | None, ...]
    label: str | None
    reason: str | None  # why it is malformed; None when well formed
    cited_rules: tuple[str, ...] = ()

    @property
    def well_formed(self) -> bool:
        return self.reason is None


def render_response(domain: Domain, conclusions: Mapping[str, str]) -> str:
    """The response text for step conclusions by key: one line a step, e.g. `[category] same`."""
    return "\n".join(f"[{key}] {' '.join(conclusions[key].split())}" for key in domain.step_keys)


def parse_response(domain: Domain, text: str, finished: bool = True) -> Response:
    """Split a response into its steps and label.

    `finished` is False when generation stopped at the token limit. The first occurrence of a section wins, so a repeated
    section can never overwrite a label. Headers count at the start of a line only.
    """
    keys = domain.step_keys
    headers = list(_HEADER.finditer(text))
    ends = [h.start() for h in headers[1:]] + [len(text)]
    found: dict[str, Step] = {}
    order: list[str] = []
    for header, end in zip(headers, ends, strict=False):
        key = header.group(1)
        order.append(key)
        found.setdefault(key, Step(key, text[header.end() : end].strip(), header.start(), end))
    steps = tuple(found.get(key) for key in keys)
    label, rest = read_label(domain, steps[domain.label_step])
    known = {rule.id for rule in domain.rules}
    reason = _why_malformed(domain, text, headers[0].start() if headers else -1, order, steps, label, finished)
    if reason is None and any(word not in known for word in rest):
        reason = "text after the label"
    return Response(text, steps, label, reason, tuple(word for word in rest if word in known))


def read_label(domain: Domain, step: Step | None) -> tuple[str | None, tuple[str, ...]]:
    """The label is the first word of the label step; what follows may cite rules, e.g. `2 (R7)`."""
    words = re.sub(r"[(),]", " ", step.text).split() if step else []
    if not words or words[0] not in domain.codes:
        return None, ()
    return words[0], tuple(words[1:])


def _why_malformed(
    domain: Domain,
    text: str,
    first: int,
    order: list[str],
    steps: tuple[Step | None, ...],
    label: str | None,
    finished: bool,
) -> str | None:
    keys = domain.step_keys
    if first < 0:
        return "no sections"
    if text[:first].strip():
        return "text before the first section"
    for key in order:
        if key not in keys:
            return f"unknown section [{key[:40]}]"
    for key in keys:
        if order.count(key) > 1:
            return f"section [{key}] twice"
    for key, step in zip(keys, steps, strict=True):
        if step is None:
            return f"section [{key}] missing" if finished else "cut off"
    if tuple(order) != keys:
        return "sections out of order"
    for spec, step in zip(domain.steps, steps, strict=True):
        if step is not None and not step.text:
            return f"section [{spec.key}] empty" if finished else "cut off"
    if label is None:
        return "label not on the scale"
    if not finished:
        return "cut off"
    return None
