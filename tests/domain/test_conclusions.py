"""Closed steps compare by what they conclude, not by how it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.domain.conclusions import canonical, concludes, is_partial, parse_fields
from taosr_she.domain.domain import StepSpec, load_domain

DOMAIN = load_domain("taobao").with_overrides({"synonyms": {"crimson": "red", "tee": "t-shirt"}})
QUERY, PRODUCT, CATEGORY, ATTRIBUTES, LABEL = DOMAIN.steps
FREE = StepSpec(key="note", title="Note", kind="free")


@pytest.mark.parametrize(
    ("step", "one", "other"),
    [
        (QUERY, "category: shoes; color: red", "Color:  RED ;category:shoes;"),
        (QUERY, "category: tee; color: crimson", "color: red\ncategory: t-shirt"),
        (QUERY, "color: red or blue", "color: blue or Crimson"),
        (QUERY, "color: not red or blue", "color: not blue or crimson"),
        (QUERY, "color: not crimson", "color: not red"),
        (ATTRIBUTES, "none", " None; "),
        (CATEGORY, "same", " SAME "),
        (LABEL, "4", "Excellent"),
        (LABEL, "2", "2 (R7)"),
        (LABEL, "2", "2(R7, R9)"),
        (LABEL, "4", "fully relevant"),
        (FREE, "A  b", "a B"),
    ],
)
def test_the_same_conclusion(step: StepSpec, one: str, other: str) -> None:
    assert canonical(DOMAIN, step, one) == canonical(DOMAIN, step, other)


@pytest.mark.parametrize(
    ("step", "one", "other"),
    [
        (QUERY, "color: red", "color: not red"),
        (QUERY, "color: red or blue", "color: red"),
        (QUERY, "color: not blue or red", "color: red or not blue"),
        (QUERY, "color: red; color: red", "color: red"),
        (QUERY, "color: red", "color: red; size: 4"),
        (QUERY, "color", "color: red"),
        (CATEGORY, "same", "near"),
        (LABEL, "4", "3"),
        (LABEL, "5", "6"),
        (FREE, "a; b", "b; a"),
    ],
)
def test_another_conclusion(step: StepSpec, one: str, other: str) -> None:
    assert canonical(DOMAIN, step, one) != canonical(DOMAIN, step, other)


def test_fields_in_the_order_written() -> None:
    assert parse_fields("Color: Red;; price: under 45\nsize; :") == [
        ("color", "red"),
        ("price", "under 45"),
        ("size", ""),
    ]


words = st.sampled_from(
    ["red", "Crimson", "blue", "or", "not", "tee", ":", ";", "", "a:b", "not red", "red or blue", "İ"]
)
messy = st.lists(words | st.text(max_size=4), max_size=8).map(" ".join)


@pytest.mark.parametrize("step", [*DOMAIN.steps, FREE], ids=lambda s: s.key)
@given(text=messy)
def test_idempotent(step: StepSpec, text: str) -> None:
    once = canonical(DOMAIN, step, text)
    assert canonical(DOMAIN, step, once) == once


@given(fields=st.lists(messy.filter(lambda t: ";" not in t and "\n" not in t)), random=st.randoms())
def test_order_case_and_space_of_fields_do_not_matter(fields: list[str], random) -> None:
    shuffled = [f"  {f}\t" for f in fields]
    random.shuffle(shuffled)
    assert canonical(DOMAIN, QUERY, ";".join(shuffled)) == canonical(DOMAIN, QUERY, "; ".join(fields))


TYPED = load_domain("chorus").steps[2]


@pytest.mark.parametrize(
    ("text", "reference", "found"),
    [
        ("color: match; brand: match", "brand: match; color: match", True),
        ("brand: conflict", "brand: match", False),
        ("brand: match; color: conflict", "brand: match; color: ?", None),  # nothing known is contradicted
        ("brand: conflict; color: match", "brand: match; color: ?", False),
        ("brand: match", "brand: match; color: ?", False),  # the color is left out, whatever is right of it
        ("brand: match; size: match", "brand: match; color: ?", False),
        ("brand: match; color: match; size: match", "brand: match; color: ?", False),  # nothing else is asked
        ("brand: match; size: unstated", "brand: match; ?", None),
        ("brand: match", "brand: match; ?", None),
        ("size: unstated", "brand: match; ?", False),
        ("none", "brand: match; ?", False),
        ("none", "none", True),
    ],
)
def test_a_reference_that_knows_a_part_finds_errors_and_nothing_right(
    text: str, reference: str, found: bool | None
) -> None:
    domain = load_domain("chorus")
    assert concludes(domain, TYPED, text, canonical(domain, TYPED, reference)) is found
    assert is_partial(TYPED, reference) == ("?" in reference)


def test_a_question_mark_is_text_where_there_are_no_fields() -> None:
    domain = load_domain("esci")
    assert concludes(domain, domain.steps[0], "who?", "who?") is True and not is_partial(domain.steps[0], "?")
