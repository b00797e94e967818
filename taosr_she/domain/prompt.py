"""A pair as a prompt. Text from queries and products is data: it can never open a section, a turn or a label."""

import re
import unicodedata
from collections.abc import Iterable

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product

_SPACE = re.compile(r"\s+")


def neutralise(text: str, special_tokens: Iterable[str] = ()) -> str:
    """User text on one line, unable to act as structure, still readable.

    Square brackets of any script become round ones (sections), line breaks become spaces (lines, turns), control and
    format characters vanish (they hide text from readers and filters), and every special token of the tokenizer gets a
    space after its first character until none is left. Compatibility forms are folded first (NFKC), or `［label］` would
    pass here and look like a header to a reader.
    """
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = _SPACE.sub(" ", text.translate(_BRACKETS)).strip()
    specials = sorted({t for t in special_tokens if t.strip()}, key=len, reverse=True)
    for _ in range(len(text)):  # breaking one token can complete another; each pass breaks at least one
        hit = next((t for t in specials if t in text), None)
        if hit is None:
            return text
        # A one-character special token cannot be broken by a space, only removed.
        text = text.replace(hit, f"{hit[0]} {hit[1:]}" if len(hit) > 1 else " ")
    return text


_BRACKETS = {ord(c): "(" for c in "[⁅【〔〖〚⟦⦋"} | {ord(c): ")" for c in "]⁆】〕〗〛⟧⦌"}


def render_system(domain: Domain) -> str:
    """The part of the prompt that is the same for every pair: instruction, grades, rules, response format."""
    spec = domain.prompt
    blocks = [spec.instruction.strip()] if spec.instruction.strip() else []
    if spec.show_labels:
        grades = [f"{g.code} {g.name}: {g.meaning}" if g.meaning else f"{g.code} {g.name}" for g in domain.labels]
        blocks.append("Grades:\n" + "\n".join(grades))
    if spec.show_rules and domain.rules:
        rules = [f"{r.id} (grade {r.grade}): {r.text}" for r in domain.rules]
        blocks.append("Rules:\n" + "\n".join(rules))
    if spec.show_format:
        lines = [f"[{s.key}] {s.guide or s.title}" for s in domain.steps]
        blocks.append("Answer in this form, one line a step:\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def render_pair(domain: Domain, pair: Pair, special_tokens: Iterable[str] = ()) -> str:
    """The part of the prompt that shows the query and the product."""
    spec = domain.prompt
    specials = tuple(special_tokens)
    lines = [f"{spec.query_heading}: {neutralise(pair.query[: spec.max_query_chars], specials)}"]
    for field in spec.fields:
        value = neutralise(_field_text(pair.product, field.name)[: field.max_chars], specials)
        if value:
            lines.append(f"{field.heading}: {value}")
    return "\n".join([*lines, spec.answer_heading])


def render_prompt(domain: Domain, pair: Pair, special_tokens: Iterable[str] = ()) -> str:
    """The whole prompt as plain text, for models without a chat template. The response follows on a new line."""
    system = render_system(domain)
    return (system + "\n\n" if system else "") + render_pair(domain, pair, special_tokens) + "\n"


def _field_text(product: Product, name: str) -> str:
    if name == "attributes":
        return "; ".join(f"{key}: {value}" for key, value in product.attributes.items())
    if name == "price":
        return "" if product.price is None else f"{product.price:g}"
    return str(getattr(product, name))
