import pytest

from taosr_she.domain.annotation import (
    REASONS,
    BadAnnotation,
    annotation_from_row,
    is_reference,
    normal_text,
    row_from_annotation,
)
from taosr_she.domain.pair import Annotation

ROW = {"pair_id": "p", "step": "category", "conclusion": "same"}


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ([], "not an object", r"found \[\]"),
        (ROW | {"colour": "red\n"}, "unknown field", "'colour'; the fields are pair_id, step"),
        ({"step": "category"}, "missing field", "no pair_id"),
        (ROW | {"step": ""}, "missing field", "no step"),
        (ROW | {"verdict": "maybe"}, "unknown verdict", "'maybe' is none of correct, wrong, unsure"),
        (ROW | {"note": 3}, "wrong type", "note is 3, not text"),
        (ROW | {"pair_id": True}, "wrong type", "pair_id is True"),
        (ROW | {"note": "a\ud83d"}, "wrong encoding", "note contains a lone surrogate"),
    ],
)
def test_each_bad_row_has_its_reason(row: object, reason: str, detail: str) -> None:
    with pytest.raises(BadAnnotation, match=detail) as error:
        annotation_from_row(row)
    assert error.value.reason == reason and reason in REASONS and "\n" not in str(error.value)


def test_rows() -> None:
    annotation = annotation_from_row(ROW | {"pair_id": 7, "response_id": 8, "note": None})
    assert annotation == Annotation("7", "category", "same", response_id="8")
    assert row_from_annotation(annotation) == {**ROW, "pair_id": "7", "verdict": "correct", "response_id": "8"}


@pytest.mark.parametrize(
    ("verdict", "response_id", "expected"),
    [("correct", "", True), ("unsure", "", True), ("wrong", "", False), ("correct", "r", False), ("wrong", "r", False)],
)
def test_reference_or_judgement(verdict: str, response_id: str, expected: bool) -> None:
    assert is_reference(Annotation("p", "s", "x", verdict, response_id=response_id)) is expected


def test_normal_text() -> None:
    assert normal_text("  Größe:\t XL\u00a0\n") == normal_text("GRÖSSE: xl") == "grösse: xl"
