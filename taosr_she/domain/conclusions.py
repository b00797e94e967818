"""Canonical conclusions, to compare closed steps: order, case, white space and the domain's synonyms do not matter.

A reference in fields may be partial. `color: ?` means that there is a color, but its conclusion is unknown. A lone `?`
means that there may be more fields. A partial reference can prove a step wrong, but never right.
"""

import re
from functools import lru_cache

from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.response import label_words

UNKNOWN = "?"
"""Marks the unknown part of a reference."""
_OR = re.compile(r"(?:^| )or(?= |$)")


def parse_fields(text: str) -> list[tuple[str, str]]:
    """`"color: red; price: 45"` -> `[("color", "red"), ("price", "45")]`, lower case, in the order written.

    A part without a colon becomes a key with an empty value. So a comparison uses everything that the model wrote.
    """
    fields = []
    for part in text.replace("\n", ";").split(";"):
        key, _, value = part.partition(":")
        field = (_squeeze(key), _squeeze(value))
        if any(field):
            fields.append(field)
    return fields


def canonical(domain: Domain, step: StepSpec, text: str) -> str:
    """One spelling for all texts of a step that have the same conclusion.

    Fields are sorted, and repeated ones kept (stating something twice is not the same as stating it once). Alternatives
    ("red or blue", "not red or blue") are sorted. Synonyms become the canonical word. A label becomes its code, without
    the rules it cites. In free text only case and repeated white space are normalised.
    """
    if step.form == "fields":
        pairs = sorted((key, _value(domain, value)) for key, value in parse_fields(text))
        return "; ".join(f"{key}: {value}" if value else key for key, value in pairs)
    if step.form == "label":
        first = " ".join(label_words(text)[:1])
        return domain.parse_label(text) or domain.parse_label(first) or _squeeze(text)
    if step.form == "choice":
        return _value(domain, _squeeze(text))
    return _squeeze(text)


def is_partial(spec: StepSpec, text: str) -> bool:
    """True for a reference with unknown parts, marked `?`."""
    return spec.form == "fields" and any(UNKNOWN in field for field in parse_fields(text))


def concludes(domain: Domain, spec: StepSpec, text: str, reference: str) -> bool | None:
    """Whether the step's conclusion agrees with a canonical reference. None if the reference is partial and does not
    contradict the step."""
    said = canonical(domain, spec, text)
    if not is_partial(spec, reference):
        return said == reference
    left = parse_fields(said)
    wanted = parse_fields(reference)
    for field in wanted:
        if UNKNOWN not in field:
            if field not in left:
                return False
            left.remove(field)
    for key, value in wanted:
        if value == UNKNOWN:
            found = next((field for field in left if field[0] == key), None)
            if found is None:
                return False
            left.remove(found)
    return False if left and (UNKNOWN, "") not in wanted else None


def _value(domain: Domain, value: str) -> str:
    """Canonical value. A leading "not" applies to all alternatives: "not red or blue" means neither."""
    negation, rest = ("not ", value[4:]) if value.startswith("not ") else ("", value)
    parts = [part.strip() for part in _OR.split(rest)]
    words = [_word(domain, part) for part in parts if part not in ("", "not")] or [rest]
    # Negated alternatives last: "red or not blue" must not become "not blue or red", which means neither.
    return negation + " or ".join(sorted(words, key=lambda word: (word.startswith("not "), word)))


def _word(domain: Domain, word: str) -> str:
    negation, rest = ("not ", word[4:]) if word.startswith("not ") else ("", word)
    return negation + domain.synonyms.get(rest, rest)


@lru_cache(maxsize=65536)
def _squeeze(text: str) -> str:
    return " ".join(text.casefold().split())
