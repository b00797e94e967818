"""Decision rules against their formulas, and their file beside the weights."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she import Judge, Pair, load_judge
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.judge.decision import (
    DECISION_FILE,
    PRIORS,
    WRITTEN,
    Decision,
    decide,
    decide_tier,
    save_decision,
    saved_decision,
)

CODES = ("4", "3", "2", "1")
weights = st.lists(st.integers(1, 30), min_size=4, max_size=4)


def spread(numbers: list[int]) -> dict[str, float]:
    return {code: n / sum(numbers) for code, n in zip(CODES, numbers, strict=True)}


@given(weights, weights, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.floats(0.01, 1), st.sampled_from(CODES))
def test_rules_equal_their_formulas(
    numbers: list[int], counts: list[int], strength: float, threshold: float, written: str
) -> None:
    probs, prior = spread(numbers), spread(counts)
    assert decide(WRITTEN, CODES, written, probs) == written
    best = decide(Decision(rule="argmax"), CODES, written, probs)
    assert best == next(code for code in CODES if probs[code] == max(probs.values()))
    corrected = [probs[code] / prior[code] ** strength for code in CODES]
    for rule in PRIORS:
        found = decide(Decision(rule=rule, strength=strength, prior=prior), CODES, written, probs)
        assert found == CODES[corrected.index(max(corrected))]
    tier = decide(Decision(rule="tiers", threshold=threshold), CODES, written, probs)
    above = [sum(probs[c] for c in CODES[: i + 1]) for i in range(4)]
    assert tier == CODES[next((i for i, total in enumerate(above) if total >= threshold - 1e-9), 3)]
    for decision in (Decision(rule="argmax"), Decision(rule="tiers", threshold=threshold)):
        assert decide(decision, CODES, None, probs) is None, "a malformed response has no label by any rule"
        assert decide(decision, CODES, written, None) == written


def test_the_prior_brings_back_a_rare_label_and_half_the_mass_gives_the_median() -> None:
    probs, prior = {"4": 0.5, "3": 0.2, "2": 0.2, "1": 0.1}, {"4": 0.6, "3": 0.25, "2": 0.1, "1": 0.05}
    assert decide(Decision(rule="prior", strength=0.0, prior=prior), CODES, "4", probs) == "4"
    assert decide(Decision(rule="prior", strength=1.0, prior=prior), CODES, "4", probs) == "2"
    seldom = prior | {"1": 0.0}
    assert decide(Decision(rule="prior", strength=1.0, prior=seldom), CODES, "4", {**probs, "1": 0.9}) == "2"
    assert [decide(Decision(rule="tiers", threshold=t), CODES, "4", probs) for t in (0.5, 0.7, 0.8, 1.0)] == [*"4321"]


@given(weights, st.floats(0.01, 1), st.sampled_from(["432|1", "43|2|1", "4|321", "4|3|2|1"]))
def test_a_tier_is_the_best_whose_cumulative_probability_reaches_the_threshold(
    numbers: list[int], threshold: float, pieces: str
) -> None:
    tiers = {f"t{i}": tuple(piece) for i, piece in enumerate(pieces.split("|"))}
    domain = load_domain("taobao").with_overrides({"tiers": tiers})
    probs, mass, expected = spread(numbers), 0.0, None
    for name, codes in tiers.items():
        mass += sum(probs[code] for code in codes)
        if expected is None and mass >= threshold - 1e-9:
            expected = name
    found = decide_tier(Decision(tier_threshold=threshold), domain, "3", probs)
    assert found == (expected or f"t{len(tiers) - 1}")
    # One rule: the tier is that of the grade which rule `tiers` gives at this threshold.
    grade = decide(Decision(rule="tiers", threshold=threshold), CODES, "3", probs)
    assert found == domain.tier_of(str(grade))


def test_without_label_probabilities_or_tiers() -> None:
    domain = load_domain("taobao")
    assert decide_tier(WRITTEN, domain, None, spread([1, 1, 1, 1])) is None
    assert decide_tier(WRITTEN, domain, "2", None) == "mid"
    assert decide_tier(WRITTEN, domain.with_overrides({"tiers": {}}), "2", spread([1, 1, 1, 1])) is None
    assert decide_tier(WRITTEN, domain, "2", spread([1, 1, 1, 9])) == "bad", "unset, it is the tier of the median grade"


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"rule": "prior", "strength": 1.0}, "rule 'prior' takes prior and strength, not strength"),
        ({"rule": "tiers"}, "rule 'tiers' takes threshold, not none"),
        ({"rule": "text", "threshold": 0.5}, "rule 'text' takes no parameter, not threshold"),
        ({"rule": "tiers", "threshold": 0.0}, "greater than 0"),
        ({"tier_threshold": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_rule_has_its_parameters_and_no_others(given_: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Decision.model_validate(given_)


def test_the_file_beside_the_weights(domain: Domain, tmp_path: Path) -> None:
    assert saved_decision(tmp_path, domain) == WRITTEN == saved_decision("a/name-on-the-hub", domain)
    prior = {"E": 0.7, "S": 0.2, "C": 0.05, "I": 0.05}
    for decision in (
        Decision(rule="prior", strength=0.5, prior=prior),
        Decision(rule="tiers", threshold=0.35),
        Decision(tier_threshold=0.2),
    ):
        save_decision(decision, tmp_path)
        assert saved_decision(tmp_path, domain) == decision
    (tmp_path / DECISION_FILE).write_text(json.dumps({"rule": "prior", "strength": 1, "prior": {"4": 1.0}}))
    with pytest.raises(UserError, match="'4' is not on the label scale of esci; remove the file"):
        saved_decision(tmp_path, domain)
    (tmp_path / DECISION_FILE).write_text(json.dumps({"rule": "tears"}))
    with pytest.raises(UserError, match=r"decision\.json: rule: .*remove the file to take labels as written"):
        saved_decision(tmp_path, domain)


def test_a_judge_decides_by_the_rule_of_its_model(
    folder: Path, judge: Judge, pairs: list[Pair], tmp_path: Path
) -> None:
    copy = tmp_path / "boots"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    save_decision(Decision(rule="tiers", threshold=1e-6), copy)  # the best grade, whatever is written
    own, written = load_judge(copy, device="cpu"), load_judge(copy, device="cpu", decision=Decision())
    assert {found.label for found in own(pairs)} == {"E"}
    assert [found.label for found in written(pairs)] == [found.label for found in judge(pairs)] != ["E"] * len(pairs)
    for a, b in zip(own(pairs), written(pairs), strict=True):
        assert a.steps == b.steps and a.response == b.response
