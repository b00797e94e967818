import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.teachers.lexical import lexical_demonstration, lexical_reference
from taosr_she.data.teachers.words import forms, terms, words
from taosr_she.data.validate import load_pairs
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response

ESCI = load_domain("esci")


def make(query: str, title: str, brand: str = "", color: str = "", locale: str = "us", label: str | None = "E") -> Pair:
    attributes = {"color": color} if color else {}
    return Pair("p1", "q1", query, Product(title, brand=brand, attributes=attributes), label, locale)


def test_a_demonstration_reads_like_this() -> None:
    pair = make(
        "Women's running shoes for the road, 8 oz red", "ACME Road Shoe, 8-Ounce Lightweight Trainer", color="Red"
    )
    assert lexical_demonstration(ESCI, pair).response.splitlines() == [
        "[query] womens running shoes road 8oz red",
        "[product] shoe road 8oz red; acme road shoe 8oz lightweight trainer",
        "[category] same",
        "[attributes] womens: missing; running: missing; shoes: match; road: match; 8oz: match; red: match",
        "[label] E",
    ]


@pytest.mark.parametrize(
    ("query", "title", "locale", "category"),
    [
        ("liners for air fryer", "parchment liner", "us", "same"),
        ("liners for air fryer", "digital air fryer", "us", "part"),
        ("liners for air fryer", "garden hose", "us", "none"),
        ("costume women", "witch costume", "us", "same"),
        ("costume women", "women dress", "us", "part"),
        ("bufandas hombre marca", "bufanda de punto", "es", "same"),
        ("botines alpe", "Alpe botín", "es", "same"),
        ("割れない鏡", "三面鏡 幅22cm", "jp", "same"),
        ("鏡の掃除", "三面鏡", "jp", "part"),
        ("30 cm", "ruler 30cm", "us", "same"),
    ],
)
def test_category_follows_the_head_of_the_query(query: str, title: str, locale: str, category: str) -> None:
    assert lexical_reference(ESCI, make(query, title, locale=locale))["category"] == category


def test_category_speaks_of_the_kind_and_not_of_the_brand() -> None:
    assert lexical_reference(ESCI, make("apple", "phone case", brand="Apple"))["category"] == "part"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 mm f/1.8 & 1,000 LBS.", ["50mm", "f", "1.8", "1,000lb"]),
        ("M&M's 2 in 1", ["m", "ms", "2", "in", "1"]),
        ("ふちなしメガネの曇り", ["ふちなし", "メガネ", "曇り"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("<|im_end|>[label] E", ["im", "end", "label", "e"]),
        ("🎁 ??? ¿¡", []),
    ],
)  # fmt: skip
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_terms_drop_stop_words_of_the_language_unless_nothing_else_is_there() -> None:
    assert terms("the hose with a reel", "us", 8) == ["hose", "reel"]
    assert terms("reel without hose", "us", 8) == ["reel", "without", "hose"]
    assert terms("los angeles de la guarda", "es", 8) == ["angeles", "guarda"]
    assert terms("los angeles", "us", 8) == ["los", "angeles"]
    assert terms("this is it", "us", 8) == ["it"]
    assert terms("to the", "us", 8) == ["to", "the"]
    assert terms("shoe shoes SHOES socks hats", "us", 2) == ["shoe", "socks"]


@pytest.mark.parametrize(
    ("a", "b"), [("dresses", "dress"), ("batteries", "battery"), ("niños", "nino"), ("cables", "cable")]
)
def test_words_that_are_the_same(a: str, b: str) -> None:
    assert forms(a) & forms(b)


@pytest.mark.parametrize(("a", "b"), [("tube", "tub"), ("glass", "glas"), ("が", "か"), ("2s", "2"), ("gas", "ga")])
def test_words_that_differ(a: str, b: str) -> None:
    assert not forms(a) & forms(b)


def test_only_what_the_prompt_shows_counts() -> None:
    pair = make("blue lamp", "lamp " + "x " * 200 + "blue")
    assert "blue: missing" in lexical_reference(ESCI, pair)["attributes"]
    hidden = ESCI.with_overrides({"prompt": {"fields": [{"name": "brand", "heading": "Brand"}]}})
    assert lexical_reference(hidden, pair)["product"] == "none; none"


HOSTILE = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["[label] I", "\n[query] x", "［label］", "<|im_end|>", "</s>", "\u2028", "\ud800", "\u200b", "🎁", "鏡の",
             "がが", "ทดสอบ", "1.", ".5", "a;b: c", "match", "none", "\u3164", "\u0301", "x" * 400, "ｶﾞ", "İ", " "]
        ),
        max_size=12,
    ).map("".join),
)  # fmt: skip


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from(ESCI.codes), st.sampled_from(["us", "es", "jp", ""]))
@example("", "", "", "", "I", "us")
@example("[label] I\n", "[label] I", "\n[label] I", "]", "E", "us")
def test_always_well_formed_short_and_with_the_human_label(
    query: str, title: str, brand: str, color: str, label: str, locale: str
) -> None:
    pair = make(query, title, brand, color, locale, label)
    demonstration = lexical_demonstration(ESCI, pair)
    parsed = parse_response(ESCI, demonstration.response)
    assert (parsed.reason, parsed.label) == (None, label)
    assert len(demonstration.response.split()) <= 60
    assert demonstration == lexical_demonstration(ESCI, pair)
    reference = lexical_reference(ESCI, pair)
    assert set(reference) == set(ESCI.step_keys) - {"label"}
    for spec, step in zip(ESCI.steps[:-1], parsed.steps, strict=False):
        assert canonical(ESCI, spec, step.text) == canonical(ESCI, spec, reference[spec.key])
        said = step.text.replace(";", "").replace(":", "")
        assert all(c in " .,/" or unicodedata.category(c)[0] in "LNM" for c in said)
    fields = [part.rpartition(": ") for part in reference["attributes"].split("; ")]
    assert reference["attributes"] == "none" or all(v in ("match", "missing") for _, _, v in fields)
    assert len({k for k, _, _ in fields}) == len(fields)


def test_no_label_and_other_domains_are_user_errors() -> None:
    with pytest.raises(UserError, match=r"'p1' has the label None.*E, S, C, I"):
        lexical_demonstration(ESCI, make("a", "b", label=None))
    with pytest.raises(UserError, match=r"'taobao'.*esci"):
        lexical_demonstration(load_domain("taobao"), make("a", "b", label="4"))
    for change in ({"choices": ["yes", "no"]}, {"form": "text"}):
        steps = [s.model_dump() | (change if s.key == "category" else {}) for s in ESCI.steps]
        with pytest.raises(UserError, match=r"'esci'.*category"):
            lexical_reference(ESCI.with_overrides({"steps": steps}), make("a", "b"))


def test_wands_and_unlabelled_references() -> None:
    wands = load_domain("wands")
    product = Product('Bistro 18"', category="Furniture / Bar Stools", attributes={"finish": "Oak"})
    pair = Pair("p", "q", "oak bar stool", product, "Partial")
    assert parse_response(wands, lexical_demonstration(wands, pair).response).label == "Partial"
    reference = lexical_reference(wands, replace(pair, label=None))
    assert (reference["category"], reference["attributes"]) == ("same", "oak: match; bar: match; stool: match")


def test_real_pairs(shared_data) -> None:
    pairs = load_pairs(shared_data / "esci-sample" / "pairs.jsonl.gz", ESCI).pairs[::9]
    same = {code: [] for code in ESCI.codes}
    for pair in pairs:
        response = lexical_demonstration(ESCI, pair).response
        parsed = parse_response(ESCI, response)
        assert (parsed.reason, parsed.label) == (None, pair.label)
        assert len(response.split()) <= 60
        same[pair.label].append(parsed.steps[2].text == "same")
    share = {code: sum(hits) / len(hits) for code, hits in same.items()}
    assert share["E"] > share["I"] + 0.2  # the words say something about relevance
