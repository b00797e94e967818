import numpy as np

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import parse_response
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
    Annotation("p1", "product", "category: tent", response_id="r1"),
    Annotation("p2", "category", "near"),
]


def examine(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    verdicts = Verifier(DOMAIN, REFERENCES).examine([PAIR] * len(texts), [parse_response(DOMAIN, t) for t in texts])
    return verdicts.values, verdicts.sources


def test_canonical_comparison_and_sources() -> None:
    values, sources = examine(RIGHT, RIGHT.replace("same", "near").replace("color: red", "color: blue"))
    np.testing.assert_array_equal(values[0], [1, np.nan, 1, 1, 1])
    np.testing.assert_array_equal(values[1], [0, np.nan, 0, 1, 1])
    human, machine, unknown = CODE["human"], CODE["machine"], CODE["unknown"]
    np.testing.assert_array_equal(sources[0], [human, unknown, human, machine, human])


def test_missing_section_is_wrong_and_label_needs_no_annotation() -> None:
    values, _ = examine("[query] category: boots; color: red\n[label] 3")
    np.testing.assert_array_equal(values[0], [1, np.nan, 0, 0, 0])


def test_pair_without_annotations_and_label_is_unknown() -> None:
    stranger = Pair("p9", "q9", "red boots", Product("red boots"))
    verdicts = Verifier(DOMAIN, REFERENCES).examine([stranger], [parse_response(DOMAIN, RIGHT)])
    assert np.isnan(verdicts.values).all() and (verdicts.sources == CODE["unknown"]).all()


def test_outcome_needs_right_label_and_form() -> None:
    texts = [RIGHT, RIGHT.replace("[label] 4", "[label] 3"), RIGHT.replace("[category] same\n", ""), "4"]
    responses = [parse_response(DOMAIN, t) for t in texts]
    np.testing.assert_array_equal(outcomes([PAIR] * 4, responses), [1, 0, 0, 0])
