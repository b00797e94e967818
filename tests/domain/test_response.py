"""The parser: round trips, every reason, and no text that makes it raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.domain.domain import SHIPPED, Domain, load_domain
from taosr_she.domain.response import parse_response, render_response

TAOBAO = load_domain("taobao")
ANSWER_FIRST = TAOBAO.with_overrides(
    {"answer_first": True, "steps": [s.model_dump() for s in (TAOBAO.steps[4], *TAOBAO.steps[:4])]}
)
DOMAINS = [*map(load_domain, SHIPPED), ANSWER_FIRST]
GOOD = "[query] a\n[product] b\n[category] same\n[attributes] none\n[label] 4"
conclusion = st.text(min_size=1).filter(lambda text: text.split())


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda d: d.name + "-first" * d.answer_first)
@given(data=st.data())
def test_round_trip(domain: Domain, data: st.DataObject) -> None:
    conclusions = {key: data.draw(conclusion) for key in domain.step_keys}
    label, rules = data.draw(st.sampled_from(domain.codes)), data.draw(st.lists(st.sampled_from(domain.rules)))
    conclusions["label"] = " ".join([label, *(rule.id for rule in rules)])
    text = render_response(domain, conclusions)
    response = parse_response(domain, text)
    assert response.well_formed and response.label == label
    assert response.cited_rules == tuple(rule.id for rule in rules)
    assert [s and s.text for s in response.steps] == [" ".join(conclusions[k].split()) for k in domain.step_keys]
    steps = [s for s in response.steps if s]
    assert "".join(text[s.start : s.end] for s in steps) == text
    assert all(text[s.start :].startswith(f"[{s.key}]") for s in steps)


lines = st.sampled_from([*GOOD.split("\n"), "[label]", "[label] 9", "[x]", "[Label] 1", " [label] 3", "]", "["])
# What stands in responses, and what looks like it: other alphabets, control characters, half characters.
pieces = st.sampled_from(
    ["[query]", "[label]", "[LABEL]", "[label ]", "［label］", "[x]", "[", "]", "\n", "\r", "\r\n", "\u2028", "\x0b",
     "\x85", "\0", "\ud800", " ", "\t", "\u200b", "4", "９", "E", "R1", "(R7)", ",", "a"]
)  # fmt: skip
texts = st.one_of(
    st.text(st.characters(exclude_categories=[])),
    st.lists(lines | st.text(max_size=4)).map("\n".join),
    st.lists(pieces | lines).map("".join),
    st.builds(
        lambda piece, at, cut: GOOD[:at] + piece + GOOD[at + cut :], pieces, st.integers(0, 70), st.integers(0, 3)
    ),
)


@pytest.mark.fuzz
@given(st.sampled_from(DOMAINS), texts, st.booleans())
def test_never_raises_and_well_formed_means_well_formed(domain: Domain, text: str, finished: bool) -> None:
    response = parse_response(domain, text, finished)
    assert len(response.steps) == len(domain.step_keys) and response.text == text
    for key, step in zip(domain.step_keys, response.steps, strict=True):
        if step is not None:
            assert step.key == key and text.startswith(f"[{key}]", step.start)
            assert step.text == text[step.start + len(f"[{key}]") : step.end].strip()
    if response.well_formed:
        assert finished and response.label in domain.codes
        steps = [s for s in response.steps if s and s.text]
        assert len(steps) == len(domain.step_keys) and not text[: steps[0].start].strip()
        assert [s.end for s in steps] == [*(s.start for s in steps[1:]), len(text)]
        assert set(response.cited_rules) <= {rule.id for rule in domain.rules}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no sections"),
        ("4", "no sections"),
        ("a [label] 4", "no sections"),
        ("\r[label] 4", "no sections"),
        ("\u2028[label] 4", "no sections"),
        ("Sure! " + GOOD, "text before the first section"),
        ("Sure!\n" + GOOD, "text before the first section"),
        (GOOD.replace("[category]", "[colour]"), "unknown section [colour]"),
        (GOOD + "\n[label] 4", "section [label] twice"),
        (GOOD.replace("[category] same\n", ""), "section [category] missing"),
        ("[label] 4\n" + GOOD.removesuffix("\n[label] 4"), "sections out of order"),
        (GOOD.replace(" same", " "), "section [category] empty"),
        (GOOD.removesuffix(" 4"), "section [label] empty"),
        (GOOD.replace("] 4", "] 5"), "label not on the scale"),
        (GOOD.replace("] 4", "] four"), "label not on the scale"),
        (GOOD + " stars", "text after the label"),
        (GOOD + " R99", "text after the label"),
        (GOOD + "\nR1 done", "text after the label"),
        (GOOD, None),
        ("\n " + GOOD.replace("\n", " \n "), None),  # word-level decoders write spaces around line breaks
        (GOOD + " (R14, R2)", None),
    ],
)
def test_reasons(text: str, reason: str | None) -> None:
    assert parse_response(TAOBAO, text).reason == reason


@pytest.mark.parametrize("length", range(1, len(GOOD) + 1))
def test_an_unfinished_response_is_cut_off(length: int) -> None:
    reason = parse_response(TAOBAO, GOOD[:length], finished=False).reason
    assert reason == ("cut off" if length >= len("[query]") else "no sections")


def test_a_repeated_section_never_overwrites_the_label() -> None:
    response = parse_response(TAOBAO, GOOD + "\n[label] 1")
    assert response.label == "4" and not response.well_formed


@pytest.mark.parametrize("text", ["2 R7", "2 (R7)", "2, R7", "2(R7)"])
def test_the_label_stands_first_and_rules_may_follow(text: str) -> None:
    conclusions = {"query": "a", "product": "b", "category": "same", "attributes": "none", "label": text}
    for domain in (TAOBAO, ANSWER_FIRST):
        response = parse_response(domain, render_response(domain, conclusions))
        assert (response.reason, response.label, response.cited_rules) == (None, "2", ("R7",))
    assert render_response(ANSWER_FIRST, conclusions).startswith("[label] 2")


@pytest.mark.parametrize("form", ["**[{}]**", "**[{}]", "### [{}]", "- [{}]", "[{}]:", "__[{}]__"])
@pytest.mark.parametrize("domain", SHIPPED)
def test_headers_have_one_form_whatever_chat_models_write(form: str, domain: str) -> None:
    known = load_domain(domain)
    plain = {key: known.codes[0] if n == known.label_step else "none" for n, key in enumerate(known.step_keys)}
    text = "\n".join(f"{form.format(key)} {said}" for key, said in plain.items())
    parsed = parse_response(known, text)
    assert not parsed.well_formed and parsed.reason is not None
    assert parse_response(known, render_response(known, plain)).well_formed
