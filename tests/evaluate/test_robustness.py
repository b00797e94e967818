from random import Random

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.robustness import PROBES, PROMOTION, disturbed, injection, robustness, word_order

DOMAIN = load_domain("taobao")


def pair(query: str, pair_id: str = "p") -> Pair:
    return Pair(pair_id, "q", query, Product("red tent", price=10.0), label="4")


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_keeps_label_and_ids_and_disturbs_one_field_the_same_way_every_time(probe: str) -> None:
    pairs = [pair("lightweight green waterproof tent under 50", f"p{i}") for i in range(20)]
    found = disturbed(probe, DOMAIN, pairs, 3)
    assert found == disturbed(probe, DOMAIN, pairs[::-1], 3)[::-1]
    assert found != disturbed(probe, DOMAIN, pairs, 4)
    for before, after in zip(pairs, found, strict=True):
        assert (before.pair_id, before.query_id, before.label) == (after.pair_id, after.query_id, after.label)
        assert (before.query == after.query) != (before.product == after.product) or before == after
    assert sum(a != b for a, b in zip(pairs, found, strict=True)) >= 15


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("green cotton tent not red", "not red"),
        ("blue light tent under 50", "under 50"),
        ("soft marwick white or grey scarf", "white or grey scarf"),
        ("what small red lamp is best", "is best"),
    ],
)
def test_words_move_before_the_first_function_word_alone(query: str, kept: str) -> None:
    orders = {word_order(Random(seed), pair(query), DOMAIN).query for seed in range(30)}
    assert len(orders) > 1
    for order in orders:
        assert order.endswith(kept) and sorted(order.split()) == sorted(query.split())


@pytest.mark.parametrize("query", ["", "tent", "not red", "50", "red or blue"])
def test_a_query_without_words_to_move_stays(query: str) -> None:
    assert word_order(Random(1), pair(query), DOMAIN).query == query


def test_an_injected_section_stays_text_in_the_prompt() -> None:
    for seed in range(10):
        attacked = injection(Random(seed), pair("tent"), DOMAIN)
        assert "[label]" not in render_prompt(DOMAIN, attacked).split("red tent")[0].split("\n")[-1]
        assert attacked.product.title != "red tent" and "red tent" in attacked.product.title
        assert render_prompt(DOMAIN, attacked).count("[label]") == render_prompt(DOMAIN, pair("tent")).count("[label]")


def test_promotion_is_not_what_the_market_trains_on() -> None:
    from taosr_she.data.market.lexicon import NOISE

    assert not set(PROMOTION) & set(NOISE)


def answer(pair_id: str, predicted: str | None) -> Prediction:
    return Prediction(pair_id, pair_id, "4", predicted, verdicts=(1.0,) * 5)


def test_the_cost_of_a_probe() -> None:
    clean = [answer("a", "4"), answer("b", "4"), answer("c", "1"), answer("d", "4")]
    found = robustness(DOMAIN, clean, {"typos": [answer("a", "4"), answer("b", None), answer("c", "4")]})
    assert found["typos"]["changed"] == pytest.approx(2 / 3) and found["typos"]["pairs"] == 3
    assert found["typos"]["clean"] == found["typos"]["macro_f1"] == pytest.approx(0.8)  # both: 2 of 3 right
