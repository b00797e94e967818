import logging
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import Response, parse_response, render_response
from taosr_she.examine.hybrid import Hybrid, check_bar
from taosr_she.examine.verdicts import CODE, SOURCES, Examiner, Verdicts
from taosr_she.examine.verifier import Verifier

DOMAIN = load_domain("taobao")
STEPS = {
    "query": "category: boots; color: red", "product": "category: boots", "category": "same",
    "attributes": "color: match", "label": "4",
}  # fmt: skip
RESPONSE = parse_response(DOMAIN, render_response(DOMAIN, STEPS))
CLOSED = [key for key in DOMAIN.step_keys if key != "label"]
WRONG = {"query": "category: tent", "product": "category: tent", "category": "near", "attributes": "color: conflict"}


class Judge:
    """A verifier over its own references that answers as the GSRM: sure of itself to 0.9, and counting."""

    def __init__(self, annotations: Sequence[Annotation]) -> None:
        self.verifier = Verifier(DOMAIN, annotations)
        self.asked: list[str] = []

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        self.asked += [p.pair_id for p in pairs]
        found = self.verifier.examine(pairs, responses)
        known = ~np.isnan(found.values)
        return Verdicts(np.abs(found.values - 0.1).astype(np.float32), np.where(known, CODE["gsrm"], 0).astype(np.int8))


opinions = st.lists(st.lists(st.sampled_from(["right", "wrong", "silent"]), min_size=4, max_size=4), max_size=5)


def references(rows: list[list[str]]) -> list[Annotation]:
    """References that make RESPONSE's steps right, wrong or unknown, pair by pair."""
    found = []
    for b, row in enumerate(rows):
        for key, says in zip(CLOSED, row, strict=True):
            if says != "silent":
                found.append(Annotation(f"p{b}", key, STEPS[key] if says == "right" else WRONG[key]))
    return found


def pair(b: int, label: str | None = None) -> Pair:
    return Pair(f"p{b}", "q", "red boots", Product("red boots"), label=label)


def expected(mode: str, human: str, gsrm: str) -> tuple[float, str]:
    """The verdict of one step and its source, by ifs."""
    by_human = {"right": (1.0, "human"), "wrong": (0.0, "human"), "silent": (math.nan, "unknown")}[human]
    by_gsrm = {"right": (0.9, "gsrm"), "wrong": (0.1, "gsrm"), "silent": (math.nan, "unknown")}[gsrm]
    if mode == "gsrm_only":
        return by_gsrm
    if mode == "human_only":
        return by_human
    if human == "silent":
        return by_gsrm
    if mode == "agree" and gsrm != "silent" and gsrm != human:
        return math.nan, "unknown"
    return by_human


@pytest.mark.parametrize("mode", ["human_first", "gsrm_only", "human_only", "agree"])
@given(human=opinions, data=st.data())
def test_every_mode_step_by_step(mode: str, human: list[list[str]], data: st.DataObject) -> None:
    row = st.lists(st.sampled_from(["right", "wrong", "silent"]), min_size=4, max_size=4)
    said = data.draw(st.lists(row, min_size=len(human), max_size=len(human)))
    gsrm = Judge(references(said))
    hybrid = Hybrid(Verifier(DOMAIN, references(human)), gsrm, mode)  # type: ignore[arg-type]
    found = hybrid.examine([pair(b) for b in range(len(human))], [RESPONSE] * len(human))
    for b in range(len(human)):
        for k, key in enumerate(DOMAIN.step_keys):
            opinion = (human[b][k], said[b][k]) if key in CLOSED else ("silent", "silent")
            value, source = expected(mode, *opinion)
            assert found.values[b, k] == pytest.approx(value, nan_ok=True)
            assert SOURCES[found.sources[b, k]] == source


def test_the_gsrm_is_asked_only_about_responses_with_a_step_that_people_left_open() -> None:
    human = Verifier(DOMAIN, references([["right"] * 4, ["right", "right", "silent", "right"], ["silent"] * 4]))
    gsrm = Judge(references([["wrong"] * 4] * 3))
    hybrid = Hybrid(human, gsrm)
    pairs = [pair(b, "4") for b in (2, 0, 1, 0)]
    found = hybrid.examine(pairs, [RESPONSE] * 4)
    assert gsrm.asked == ["p2", "p1"] and (hybrid.examined, hybrid.asked) == (4, 2)
    assert found.values[2].tolist() == pytest.approx([1, 1, 0.1, 1, 1])
    hybrid.examine([pair(0, "4")], [RESPONSE])
    assert len(gsrm.asked) == 2 and (hybrid.examined, hybrid.asked) == (5, 2)  # not even an empty question


def test_inputs_of_the_human_side_stay_as_they_are() -> None:
    class Fixed:
        def __init__(self) -> None:
            self.verdicts = Verifier(DOMAIN, []).examine([pair(0)], [RESPONSE])

        def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
            return self.verdicts

    human: Examiner = Fixed()
    found = Hybrid(human, Judge(references([["right"] * 4]))).examine([pair(0)], [RESPONSE])
    assert not np.isnan(found.values[0, :4]).any()
    assert np.isnan(human.verdicts.values).all() and not human.verdicts.sources.any()  # type: ignore[attr-defined]


def test_mistakes_of_the_user() -> None:
    verifier = Verifier(DOMAIN, [])
    with pytest.raises(UserError, match="hybrid mode 'gsrm_first': expected one of human_first, gsrm_only"):
        Hybrid(verifier, verifier, "gsrm_first")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'agree' needs a GSRM"):
        Hybrid(verifier, None, "agree")
    assert Hybrid(verifier, None, "human_only").examine([pair(0)], [RESPONSE]).values.shape == (1, 5)


def test_a_gsrm_below_the_bar_stops_the_run_unless_overridden(caplog: pytest.LogCaptureFixture) -> None:
    check_bar({"first_error_f1": 0.6})
    with pytest.raises(UserError, match=r"reaches a first-error F1 of 0\.599; the bar is 0\.6: train it on more"):
        check_bar({"first_error_f1": 0.599})
    check_bar({"first_error_f1": 0.55}, bar=0.5)
    for unmeasured in ({}, {"first_error_f1": math.nan}):
        with pytest.raises(UserError, match="has no first-error F1 on held-out people"):
            check_bar(unmeasured)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_bar({"first_error_f1": 0.2}, override=True)
    assert "first-error F1 of 0.200; the bar is 0.6: used all the same" in caplog.text
