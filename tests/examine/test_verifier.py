from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.examine.store import AnnotationStore
from taosr_she.examine.verdicts import CODE, outcomes
from taosr_she.examine.verifier import Verifier

DOMAIN = load_domain("taobao")
PAIR = Pair("p1", "q1", "red boots", Product("red boots"), label="4")
RIGHT = """[query] category: boots; color: red
[product] category: boots
[category] same
[attributes] color: match
[label] 4"""
REFERENCES = [
    Annotation("p1", "query", "color: Red;  category: boots"),
    Annotation("p1", "category", "same"),
    Annotation("p1", "attributes", "color: match", annotator="machine:lexical"),
    Annotation("p1", "product", "category: tent", verdict="unsure"),
    Annotation("p1", "product", "category: tent", response_id="r1", annotator="b"),
    Annotation("p2", "category", "near"),
]


Said = list[Annotation] | AnnotationStore


@pytest.fixture(params=["list", "store"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[list[Annotation]], Said]]:
    """Annotations as they are, and in a store: a verifier answers the same from both."""
    with AnnotationStore(tmp_path / "a.db") as store:

        def kept(annotations: list[Annotation]) -> Said:
            store.add(annotations)
            return annotations if request.param == "list" else store

        yield kept


def examine(said: Said, *texts: str, pair: Pair = PAIR) -> tuple[np.ndarray, np.ndarray]:
    verdicts = Verifier(DOMAIN, said).examine([pair] * len(texts), [parse_response(DOMAIN, t) for t in texts])
    return verdicts.values, verdicts.sources


def test_canonical_comparison_and_sources(keep: Callable[[list[Annotation]], Said]) -> None:
    values, sources = examine(
        keep(REFERENCES), RIGHT, RIGHT.replace("same", "near").replace("color: red", "color: blue")
    )
    np.testing.assert_array_equal(values[0], [1, np.nan, 1, 1, 1])
    np.testing.assert_array_equal(values[1], [0, np.nan, 0, 1, 1])
    human, machine, unknown = CODE["human"], CODE["machine"], CODE["unknown"]
    np.testing.assert_array_equal(sources[0], [human, unknown, human, machine, human])


def test_missing_section_is_wrong_and_label_needs_no_annotation() -> None:
    values, _ = examine(REFERENCES, "[query] category: boots; color: red\n[label] 3")
    np.testing.assert_array_equal(values[0], [1, np.nan, 0, 0, 0])


def test_pair_without_annotations_and_label_is_unknown() -> None:
    stranger = Pair("p9", "q9", "red boots", Product("red boots"))
    verdicts = Verifier(DOMAIN, REFERENCES).examine([stranger], [parse_response(DOMAIN, RIGHT)])
    assert np.isnan(verdicts.values).all() and (verdicts.sources == CODE["unknown"]).all()


def test_references_first_then_judgements_by_text(keep: Callable[[list[Annotation]], Said]) -> None:
    def judged(step: str, text: str, verdict: str, annotator: str = "a", response_id: str = "r1") -> Annotation:
        return Annotation("p1", step, text, verdict, annotator=annotator, response_id=response_id)

    said = keep(
        [
            *REFERENCES,
            judged("category", "near", "correct"),  # the reference knows better
            judged("product", "Category:  Boots", "correct"),
            judged("product", "category: boots", "wrong", "b"),
            judged("product", "CATEGORY: boots", "wrong", "c", ""),
            judged("product", "category: tent", "wrong", "machine:gsrm"),
            Annotation("p1", "query", "category: tent", annotator="second"),  # a tie with the first reference
            judged("query", "category: boots; color: red", "correct"),
            Annotation("p2", "product", "category: shoe", "wrong", response_id="r1"),  # of another pair
        ]
    )
    values, sources = examine(
        said, RIGHT, RIGHT.replace("same", "near"), RIGHT.replace("boots\n[cat", "tent\n[cat"),
        RIGHT.replace("boots\n[cat", "shoe\n[cat"),
    )  # fmt: skip
    np.testing.assert_array_equal(values[:, :3], [[1, 0, 1], [1, 0, 0], [1, 1, 1], [1, np.nan, 1]])
    human, machine, unknown = CODE["human"], CODE["machine"], CODE["unknown"]
    assert sources[:, 1].tolist() == [human, human, human, unknown] and machine not in sources[:, :3]


def test_label_without_a_human_label_is_known_by_its_reference(keep: Callable[[list[Annotation]], Said]) -> None:
    unlabelled = Pair("p1", "q1", "red boots", Product("red boots"))
    values, _ = examine(keep([Annotation("p1", "label", "4 R14")]), RIGHT, RIGHT.replace("] 4", "] 3"), pair=unlabelled)
    np.testing.assert_array_equal(values[:, 4], [1, 0])


def test_hit_rate_counts_from_the_creation(keep: Callable[[list[Annotation]], Said]) -> None:
    verifier = Verifier(DOMAIN, keep(REFERENCES))
    assert verifier.hit_rate() == {}
    stranger = Pair("p2", "q9", "red boots", Product("red boots"))
    response = parse_response(DOMAIN, RIGHT)
    verifier.examine([PAIR, stranger], [response, response])
    verifier.examine([PAIR, PAIR], [response, response])
    assert verifier.hit_rate() == {"query": 0.75, "product": 0, "category": 1, "attributes": 0.75, "label": 0.75}


def test_a_store_is_asked_for_each_batch_anew(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "a.db") as store:
        verifier = Verifier(DOMAIN, store)
        response = parse_response(DOMAIN, RIGHT)
        assert np.isnan(verifier.examine([PAIR], [response]).values[0, 2])
        store.add(REFERENCES)
        assert verifier.examine([PAIR], [response]).values[0, 2] == 1


def test_outcome_needs_right_label_and_form() -> None:
    texts = [RIGHT, RIGHT.replace("[label] 4", "[label] 3"), RIGHT.replace("[category] same\n", ""), "4"]
    responses = [parse_response(DOMAIN, t) for t in texts]
    np.testing.assert_array_equal(outcomes([PAIR] * 4, responses), [1, 0, 0, 0])


def test_a_reference_that_knows_a_part_says_wrong_or_nothing() -> None:
    domain = load_domain("chorus")
    said = [Annotation("p1", "attributes", "brand: match; color: ?", annotator="machine:catalogue")]
    texts = [f"[query] none\n[category] same\n[attributes] {a}\n[label] 3" for a in (
        "brand: conflict; color: match", "brand: match; color: conflict",
    )]  # fmt: skip
    pair = Pair("p1", "q1", "red nike shoe", Product("Shoe"), label="3")
    found = Verifier(domain, said).examine([pair, pair], [parse_response(domain, t) for t in texts])
    assert found.values[0, 2] == 0 and np.isnan(found.values[1, 2])
    assert found.sources[:, 2].tolist() == [CODE["machine"], CODE["unknown"]]


def test_outcomes_by_raters_are_shares_and_by_label_exact() -> None:
    rated = Pair("p1", "q1", "boots", Product("boots"), label="4", extra={"raters": ["4", "4", "3"]})
    texts = [RIGHT, RIGHT.replace("[label] 4", "[label] 3"), RIGHT.replace("[label] 4", "[label] 1"), "[label] 4"]
    responses = [parse_response(DOMAIN, text) for text in texts]
    assert outcomes([rated] * 4, responses).tolist() == [1, 0, 0, 0]
    assert outcomes([rated] * 4, responses, "raters").tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert outcomes([PAIR] * 4, responses, "raters").tolist() == [1, 0, 0, 0]
