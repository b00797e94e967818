"""The response format: named sections in the order of the step schema. Parses text into steps and a label, and back.

A malformed response is a state with a reason, not an exception, because reinforcement learning produces thousands.

The form is strict. Headers such as `**[query]**`, `### [query]` and `[Query]`, which chat models like to write, are
accepted in no domain: what is accepted here is rewarded in training, and then every later reader has to accept it too.
Trained models keep the form. How often untrained ones do is worth measuring (docs/real-data.md).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taosr_she.domain.domain import Domain

# Spaces before a header are allowed, because word-level tokenizers decode with a space before every word.
_HEADER = re.compile(r"^[ \t]*\[([a-z][a-z_]*)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Header:
    """A section header found in a text."""

    key: str
    start: int  # offset of "["
    end: int  # offset after "]"


@dataclass(frozen=True, slots=True)
class Step:
    """One section of a response. `text` is the conclusion, without header and outer white space."""

    key: str
    text: str
    start: int  # character offset of the header's "[" in the response
    end: int  # offset of the next header's "[", or the length of the response


@dataclass(frozen=True, slots=True)
class Response:
    """A parsed response. `steps` has K entries in schema order; a missing section is None.

    `label` is the label step's label even if the response is malformed for another reason. Credit and evaluation check
    `well_formed` first.
    """

    text: str
    steps: tuple[Step | None, ...]
    label: str | None
    reason: str | None  # why it is malformed; None when well formed
    cited_rules: tuple[str, ...] = ()

    @property
    def well_formed(self) -> bool:
        """True if every section occurs exactly once, in order, with text, and the label is on the scale."""
        return self.reason is None


def render_response(domain: Domain, conclusions: Mapping[str, str]) -> str:
    """The response text for step conclusions by key: one line per step, e.g. `[category] same`."""
    return "\n".join(f"[{key}] {' '.join(conclusions[key].split())}" for key in domain.step_keys)


def find_headers(text: str) -> list[Header]:
    """All section headers of a text, known keys or not. Only a header at the start of a line counts."""
    return [Header(m.group(1), m.start(1) - 1, m.end()) for m in _HEADER.finditer(text)]


def parse_response(domain: Domain, text: str, finished: bool = True) -> Response:
    """Split a response into its steps and label. Never raises on any text.

    `finished` is False if generation stopped at the token limit. The first occurrence of a section counts, so a
    repeated section can never overwrite a label.
    """
    headers = find_headers(text)
    ends = [h.start for h in headers[1:]] + [len(text)]
    found: dict[str, Step] = {}
    for header, end in zip(headers, ends, strict=False):
        found.setdefault(header.key, Step(header.key, text[header.end : end].strip(), header.start, end))
    steps = tuple(found.get(key) for key in domain.step_keys)
    label, rest = read_label(domain, steps[domain.label_step])
    known = {rule.id for rule in domain.rules}
    reason = _why_malformed(domain, text, headers, steps, label, finished)
    if reason is None and any(word not in known for word in rest):
        reason = "text after the label"
    return Response(text, steps, label, reason, tuple(word for word in rest if word in known))


def read_label(domain: Domain, step: Step | None) -> tuple[str | None, tuple[str, ...]]:
    """The label is the first word of the label step; what follows may cite rules, e.g. `2 (R7)`."""
    words = label_words(step.text) if step else []
    if not words or words[0] not in domain.codes:
        return None, ()
    return words[0], tuple(words[1:])


def label_words(text: str) -> list[str]:
    """The words of a label step without brackets and commas: `2 (R7, R9)` -> `["2", "R7", "R9"]`."""
    return re.sub(r"[(),]", " ", text).split()


def _why_malformed(
    domain: Domain,
    text: str,
    headers: Sequence[Header],
    steps: Sequence[Step | None],
    label: str | None,
    finished: bool,
) -> str | None:
    keys = domain.step_keys
    order = tuple(header.key for header in headers)
    if not headers:
        return "no sections"
    if text[: headers[0].start].strip():
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
    if order != keys:
        return "sections out of order"
    for key, step in zip(keys, steps, strict=True):
        if step is not None and not step.text:
            return f"section [{key}] empty" if finished else "cut off"
    if not finished:
        return "cut off"
    if label is None:
        return "label not on the scale"
    return None
