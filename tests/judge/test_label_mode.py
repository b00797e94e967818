"""Mode `label`: the label distribution of mode `reason`, without a response, and only where the label comes first."""

from pathlib import Path

import pytest

from taosr_she import Judge, Pair, Product, load_judge
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.engine.speedups import without
from taosr_she.judge.decision import Decision
from taosr_she.judge.pairs import judge_pairs
from taosr_she.model.sampling import Sampling


@pytest.fixture(scope="module")
def quick(first_folder: Path) -> Judge:
    return load_judge(first_folder, device="cpu", mode="label")


def test_the_label_first_is_the_label_alone(
    quick: Judge, first_folder: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasoned = load_judge(first_folder, device="cpu")(pairs)
    assert [found.label for found in reasoned] == ["E" if p.query == p.product.title else "S" for p in pairs]
    monkeypatch.setattr("taosr_she.judge.pairs.sample_groups", None)
    for found, whole, pair in zip(quick(pairs), reasoned, pairs, strict=True):
        assert found.pair_id == pair.pair_id
        assert found.probabilities == pytest.approx(whole.probabilities, abs=1e-5)
        assert (found.label, found.tier, found.reason) == (whole.label, whole.tier, None)
        assert found.expected_grade == pytest.approx(whole.expected_grade, abs=1e-4)
        assert (found.response, found.tokens) == ("", 0)
        assert found.steps == dict.fromkeys(found.steps) | {"label": found.label}


def test_a_query_and_its_products_share_their_beginning(quick: Judge) -> None:
    """Sharing changes rounding only, however the pairs are cut into batches."""
    titles = [f"{color} boots {n}" for n in range(6) for color in ("red", "blue")]
    many = [
        Pair(f"{q}{n}", q, f"{q} boots", Product(title)) for n, title in enumerate(titles) for q in ("red", "green")
    ]
    how = Sampling(max_new_tokens=1, temperature=0.0)
    with without("shared_prompts"):
        alone = [judge_pairs(quick.policy, quick.domain, [p], how, 1, mode="label").judgements[0] for p in many]
    for rows in (5, 64):
        together = judge_pairs(quick.policy, quick.domain, many, how, rows, mode="label").judgements
        assert [found.pair_id for found in together] == [pair.pair_id for pair in many]
        for found, one in zip(together, alone, strict=True):
            assert found.probabilities == pytest.approx(one.probabilities, abs=1e-5)


def test_a_domain_of_the_label_alone_writes_and_reads_the_same(first_folder: Path, label_first: Domain) -> None:
    alone = label_first.with_overrides({"steps": [label_first.steps[0].model_dump()]})
    pair = {"query": "red boots", "title": "red boots"}
    found = load_judge(first_folder, device="cpu", domain=alone, force_domain=True, mode="label")(pair)
    assert (found.label, found.steps) == ("E", {"label": "E"})


def test_labels_follow_the_rule_and_the_threshold_of_the_tier(first_folder: Path, pairs: list[Pair]) -> None:
    decision = Decision(rule="tiers", threshold=1e-6, tier_threshold=1.0)
    judged = load_judge(first_folder, device="cpu", mode="label", decision=decision)(pairs)
    assert {(found.label, found.tier) for found in judged} == {("E", "bad")}
    # The label step shows what the model holds likeliest, whatever the rule decides.
    assert [found.steps["label"] for found in judged] == ["E" if p.query == p.product.title else "S" for p in pairs]


def test_a_pair_too_long_for_the_model_has_a_reason(quick: Judge) -> None:
    red = {"query": "red boots", "title": "red boots"}
    before, long, after = quick([red, {"query": "red boots", "title": "字" * 300}, red])
    assert before.label == after.label == "E"
    assert (long.label, long.tier) == (None, None)
    assert long.reason == "prompt too long: with the label it exceeds the model's 256 positions"


def test_where_reasoning_comes_first_there_is_no_label_mode(folder: Path, judge: Judge, pairs: list[Pair]) -> None:
    told = r"needs a domain with the label step first; in 'esci', 4 steps come before it: .*answer_first.*distil"
    with pytest.raises(UserError, match=told):
        load_judge(folder, device="cpu", mode="label")
    with pytest.raises(UserError, match=told):
        judge_pairs(judge.policy, judge.domain, pairs, judge.sampling, 8, mode="label")
    with pytest.raises(UserError, match="mode 'fast': expected reason or label"):
        load_judge(folder, device="cpu", mode="fast")  # type: ignore[arg-type]
