"""From a pair to a prompt. Text from queries and products is data: it can never open a section, a turn or a label."""

import re
from collections.abc import Iterable
from functools import lru_cache

from taosr_she.domain.domain import Domain, ProductField
from taosr_she.domain.fold import fold
from taosr_she.domain.pair import Pair, Product


def neutralise(text: str, special_tokens: Iterable[str] = ()) -> str:
    """User text on one line that cannot act as structure but is still readable.

    `fold` removes sections (square brackets become round), lines and turns (line breaks become spaces), and look-alikes
    (NFKC; otherwise `［label］` would pass here and look like a header to a reader). Then every special token of the
    tokenizer, in any case, gets a space after its first character, until none is left.
    """
    text = fold(text)
    pattern = _special_pattern(tuple(special_tokens))
    broken = 1
    while broken:  # breaking one token can complete another; every pass leaves fewer adjacent letters
        text, broken = pattern.subn(_break, text)
    return text.strip()


@lru_cache(maxsize=64)
def _special_pattern(special_tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches special tokens without the spaces around them, and names of bytes, which Unigram models read as bytes."""
    specials = sorted({token.strip() for token in special_tokens} - {""}, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, specials), "<0x[0-9a-f]{2}>"]), re.IGNORECASE)


def _break(match: re.Match[str]) -> str:
    token = match.group()
    return f"{token[0]} {token[1:]}" if len(token) > 1 else ""  # one character cannot be broken, only removed


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
    lines = [f"{spec.query_heading}: {_shown(pair.query, spec.max_query_chars, specials)}"]
    for field in spec.read_fields:
        value = _shown(_field_text(pair.product, field), field.max_chars, specials)
        if value:
            lines.append(f"{field.heading}: {value}")
    return "\n".join([*lines, spec.answer_heading])


def render_prompt(domain: Domain, pair: Pair, special_tokens: Iterable[str] = ()) -> str:
    """The whole prompt as plain text, for models without a chat template. The response follows on a new line."""
    system = render_system(domain)
    return (system + "\n\n" if system else "") + render_pair(domain, pair, special_tokens) + "\n"


def _shown(text: str, max_chars: int, special_tokens: tuple[str, ...]) -> str:
    # Cut after neutralising, because NFKC can make a text 18 times as long; the first cut only limits the work.
    return neutralise(text[: 4 * max_chars], special_tokens)[:max_chars].rstrip()


def _field_text(product: Product, field: ProductField) -> str:
    name = field.name
    if name == "attributes":
        shown = [key for key in field.only or product.attributes if key in product.attributes]
        return "; ".join(f"{key}: {product.attributes[key]}" for key in shown)
    if name == "price":
        return "" if product.price is None else f"{product.price:.2f}".removesuffix(".00")
    return str(getattr(product, name))
