"""What a judgement says, and its columns."""

import pytest

from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.response import parse_response
from taosr_she.judge.judgement import expected_grade, judgement, judgement_columns, refusal

TEXT = "[query] boots\n[product] boots\n[category] same\n[attributes] color: match\n[label] 4"
PROBABILITIES = {"4": 0.5, "3": 0.25, "2": 0.25, "1": 0.0}


def test_columns_of_a_file() -> None:
    domain = load_domain("taobao")
    found = judgement(domain, "p", parse_response(domain, TEXT), PROBABILITIES, 9)
    assert judgement_columns(domain, found) == {
        "predicted": "4", "p_4": 0.5, "p_3": 0.25, "p_2": 0.25, "p_1": 0.0, "expected_grade": 3.25, "tier": "good",
        "step_query": "boots", "step_product": "boots", "step_category": "same", "step_attributes": "color: match",
        "step_label": "4",
        "rationale": "Query understanding: boots\nProduct understanding: boots\nCategory match: same\n"
        "Attribute match: color: match",
        "response": TEXT, "malformed": None,
    }  # fmt: skip


def test_a_refused_pair_has_the_same_columns() -> None:
    domain = load_domain("taobao")
    whole = judgement(domain, "p", parse_response(domain, TEXT), PROBABILITIES, 9)
    columns = judgement_columns(domain, refusal(domain, "p", "missing title"))
    assert list(columns) == list(judgement_columns(domain, whole))
    assert {name for name, value in columns.items() if value is not None} == {"response", "malformed"}


def test_a_label_in_a_malformed_response_does_not_count() -> None:
    domain = load_domain("taobao")
    found = judgement(domain, "p", parse_response(domain, f"so:\n{TEXT}"), PROBABILITIES, 9)
    assert (found.label, found.reason, found.expected_grade) == (None, "text before the first section", 3.25)


@pytest.mark.parametrize(
    ("codes", "values"),
    [
        ("4 3 2 1", (4, 3, 2, 1)),
        ("3 2 1 0", (3, 2, 1, 0)),
        ("1 0.1 0.01 0", (1, 0.1, 0.01, 0)),
        ("E S C I", (4, 3, 2, 1)),
        ("1 2 3", (3, 2, 1)),  # school marks: a larger number is a worse grade
        ("2 1 none", (3, 2, 1)),
        ("inf 1", (2, 1)),
        ("nan 1", (2, 1)),
    ],
)
def test_a_grade_is_worth_its_code_or_its_rank(codes: str, values: tuple[float, ...]) -> None:
    labels = [{"code": code, "name": f"grade {code}"} for code in codes.split()]
    domain = Domain.model_validate({**load_domain("taobao").model_dump(), "labels": labels, "rules": [], "tiers": {}})
    assert domain.grade_values == values
    for value, code in zip(values, domain.codes, strict=True):
        assert expected_grade(domain, {other: float(other == code) for other in domain.codes}) == value
