"""Closed steps compared as canonical conclusions: order, case, white space and the domain's synonyms do not matter."""

from functools import lru_cache

from taosr_she.domain.domain import Domain, StepSpec


def parse_fields(text: str) -> list[tuple[str, str]]:
    """`"color: red; price: 45"` -> `[("color", "red"), ("price", "45")]`, lower case, in the order written.

    A part without a colon becomes a key with an empty value, so that nothing the model wrote is lost in a comparison.
    """
    fields = []
    for part in text.replace("\n", ";").split(";"):
        if part.strip():
            key, _, value = part.partition(":")
            fields.append((_squeeze(key), _squeeze(value)))
    return fields


def canonical(domain: Domain, step: StepSpec, text: str) -> str:
    """One spelling for all texts of a step that conclude the same.

    Fields are sorted and repeated ones kept (saying a thing twice is not the same as saying it once); alternatives
    ("red or blue") are sorted; synonyms become the canonical word. Free text only loses case and double white space.
    """
    if step.form == "fields":
        pairs = sorted((key, _value(domain, value)) for key, value in parse_fields(text))
        return "; ".join(f"{key}: {value}" if value else key for key, value in pairs)
    if step.form == "label":
        return domain.parse_label(text.split()[0]) or _squeeze(text) if text.split() else ""
    if step.form == "choice":
        return _value(domain, _squeeze(text))
    return _squeeze(text)


def _value(domain: Domain, value: str) -> str:
    alternatives = [domain.synonyms.get(v, v) for v in value.split(" or ")]
    return " or ".join(sorted(alternatives))


@lru_cache(maxsize=65536)
def _squeeze(text: str) -> str:
    return " ".join(text.casefold().split())
