import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.evaluate.baselines import (
    checked_predictions,
    choose_strength,
    find_baseline,
    majority_baseline,
    overlap,
    tfidf_baseline,
)
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction

DOMAIN = load_domain("taobao")
COLOURS, KINDS = ("red", "blue", "green", "black", "white"), ("boots", "tent", "lamp", "wallet", "jacket", "bottle")


def shop(seed: int, queries: int) -> list[Pair]:
    """4: kind and colour are there; 3: the colour is another one; 1: the kind is another one. There is no 2."""
    rng = np.random.default_rng(seed)
    pairs = []
    for q in range(queries):
        colour, kind = rng.choice(COLOURS), rng.choice(KINDS)
        for i in range(3):
            shown, thing = (
                rng.choice(values) if rng.random() < 0.5 else asked
                for values, asked in ((COLOURS, colour), (KINDS, kind))
            )
            label = "1" if thing != kind else "4" if shown == colour else "3"
            title = f"{rng.choice(['new', 'cheap', 'hot'])} {shown} {thing}"
            pairs.append(Pair(f"{q}-{i}", f"q{q}", f"{colour} {kind}", Product(title), label, tags=("toy",)))
    return pairs


TRAIN, TEST = shop(1, 120), shop(2, 60)


def score(predictions: list[Prediction]) -> float:
    return compute_metrics(DOMAIN, predictions)["macro_f1"]


def test_words_that_tell_beat_the_majority() -> None:
    majority, tfidf = majority_baseline(DOMAIN, TRAIN, TEST), tfidf_baseline(DOMAIN, TRAIN, TEST, seed=1)
    assert score(majority) < 0.35 and score(tfidf) > 0.9
    for pair, p in zip(TEST, tfidf, strict=True):
        assert (p.pair_id, p.query_id, p.label, p.tags) == (pair.pair_id, pair.query_id, pair.label, pair.tags)
        assert (p.response, p.reason, p.steps, p.tokens) == ("", None, (None,) * 5, 0)
        assert all(math.isnan(v) for v in p.verdicts) and len(p.verdicts) == 5
        assert sum(p.probs) == pytest.approx(1) and p.predicted == DOMAIN.codes[p.probs.index(max(p.probs))]
        assert p.probs[2] == 0  # training shows no grade 2
    assert compute_metrics(DOMAIN, tfidf)["malformed"] == 0


def test_the_seed_decides_everything() -> None:
    assert repr(tfidf_baseline(DOMAIN, TRAIN, TEST, 3)) == repr(tfidf_baseline(DOMAIN, TRAIN, TEST, 3))


def test_it_runs_on_one_thread_and_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.linear_model
    from threadpoolctl import threadpool_info, threadpool_limits

    used: list[int] = []
    inner = sklearn.linear_model.LogisticRegression.fit

    def fit(self: Any, *arguments: Any) -> Any:
        used.extend(pool["num_threads"] for pool in threadpool_info())
        return inner(self, *arguments)

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression.fit", fit)
    with threadpool_limits(limits=2):
        before = [pool["num_threads"] for pool in threadpool_info()]
        tfidf_baseline(DOMAIN, TRAIN[:60], TEST)
        assert used and set(used) == {1}
        assert before == [pool["num_threads"] for pool in threadpool_info()] and 2 in before


def test_majority_is_the_commonest_grade_and_the_better_of_equals() -> None:
    def train(*labels: str | None) -> list[Pair]:
        return [replace(TRAIN[0], label=label) for label in labels]

    (found,) = majority_baseline(DOMAIN, train("2", "1", "1", None), TEST[:1])
    assert found.predicted == "1" and found.probs == pytest.approx((0, 0, 1 / 3, 2 / 3))
    (equal,) = majority_baseline(DOMAIN, train("2", "3"), TEST[:1])
    assert equal.predicted == "3"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_a_tiny_training_set_still_answers(size: int) -> None:
    found = tfidf_baseline(DOMAIN, TRAIN[:size], TEST[:5], seed=0)
    assert len(found) == 5
    assert {p.predicted for p in found} <= {p.label for p in TRAIN[:size]}


def test_unlabelled_pairs_are_not_learnt_from_but_answered() -> None:
    noise = [replace(p, pair_id=f"u{p.pair_id}", label=None, query="lamp", product=Product("lamp")) for p in TRAIN]
    nameless = [replace(p, label=None) for p in TEST]
    found = tfidf_baseline(DOMAIN, [*TRAIN, *noise], nameless, seed=1)
    assert [p.predicted for p in found] == [p.predicted for p in tfidf_baseline(DOMAIN, TRAIN, TEST, seed=1)]
    assert all(p.label is None for p in found)
    for baseline in (majority_baseline, tfidf_baseline):
        with pytest.raises(UserError, match="no training pair has"):
            baseline(DOMAIN, noise, TEST, 0)


def test_strength_is_a_default_where_no_fold_can_be_fitted() -> None:
    assert choose_strength(TRAIN[:3], 0) == 1.0  # one query
    two = [replace(TRAIN[0], label="4"), replace(TRAIN[3], label="1")]
    assert choose_strength(two, 0) == 1.0  # beside each fold stands one grade


def test_folds_do_not_divide_a_query() -> None:
    """The label is a coin toss for each query: within-query folds would reward learning queries by heart."""
    rng = np.random.default_rng(0)
    coin = {f"q{q}": "41"[rng.integers(2)] for q in range(40)}
    names = {q: f"{rng.integers(10**6)}x" for q in coin}
    pairs = [Pair(f"{q}-{i}", q, names[q], Product(f"thing {names[q]} {i}"), coin[q]) for q in coin for i in range(4)]
    seen: list[set[str]] = []
    from sklearn.model_selection import GroupKFold

    split = GroupKFold.split

    def watched(self, x, y=None, groups=None):
        for inside, outside in split(self, x, y, groups):
            seen.append({pairs[i].query_id for i in inside} & {pairs[i].query_id for i in outside})
            yield inside, outside

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupKFold, "split", watched)
        choose_strength(pairs, 0)
    assert seen == [set()] * 3


def test_texts_without_words_are_no_obstacle() -> None:
    odd = [Pair(f"{i}", f"q{i}", "?!", Product("★"), "41"[i % 2]) for i in range(8)]
    assert len(tfidf_baseline(DOMAIN, odd, odd, seed=0)) == 8
    assert all(0 <= x <= 1 for x in overlap(odd[0]))


def test_overlap_counts_words_and_compares_a_number_with_the_price() -> None:
    product = Product("Red boots", "leather, warm", price=40.0, attributes={"sole": "rubber"})
    found = overlap(Pair("p", "q", "warm red tent under 50", product))
    assert found[:4] == [1 / 5, 1 / 5, 2 / 5, 0.0]
    assert found[4:6] == pytest.approx([1 / 6, 2 / 9])
    assert found[8:] == [1.0, 0.0]
    assert overlap(Pair("p", "q", "boots under 30", product))[8:] == [0.0, 1.0]
    assert overlap(Pair("p", "q", "boots", product))[8:] == [0.0, 0.0]


def test_baselines_are_found_by_name_and_by_import_path() -> None:
    assert find_baseline("majority") is majority_baseline
    assert find_baseline("taosr_she.evaluate.baselines:majority_baseline") is majority_baseline
    with pytest.raises(ValueError, match=r"'bm25' is none of majority, .*, and no import path"):
        find_baseline("bm25")
    with pytest.raises(ValueError, match=r"words: cannot be called as \(domain, train, test, seed\)"):
        find_baseline("taosr_she.evaluate.baselines:words")


def test_a_baseline_answers_every_pair_in_order_with_a_probability_a_grade() -> None:
    domain = load_domain("esci")
    pairs = [Pair(str(i), f"q{i}", "boots", Product("boots"), label="E") for i in range(3)]
    found = majority_baseline(domain, pairs, pairs)
    assert checked_predictions("m:x", domain, pairs, found) == found
    for wrong in (found[:2], found[::-1], [None] * 3):
        with pytest.raises(UserError, match="baseline m:x: expected one Prediction for each of the 3 pairs"):
            checked_predictions("m:x", domain, pairs, wrong)
    with pytest.raises(UserError, match="baseline m:x: pair 0 needs 4 probabilities, one per grade"):
        checked_predictions("m:x", domain, pairs, [replace(found[0], probs=(1.0,)), *found[1:]])
