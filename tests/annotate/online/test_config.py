"""Settings of online verification: what goes together."""

import pytest
from pydantic import ValidationError

from taosr_she.recipe.examination import Examination


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"online": {"policies": {"chance": 1}}, "gsrm": "gsrm"}, "unknown policy 'chance'"),
        ({"online": {"policies": {"random": 0}}, "gsrm": "gsrm"}, "must be above 0"),
        ({"online": {}}, "policy `disagreement` needs a GSRM's verdicts"),
        ({"online": {}, "gsrm": "gsrm", "mode": "agree"}, "mode `agree` does not"),
        ({"online": {}, "gsrm": "gsrm", "flip": 0.1}, "`flip` would also flip"),
        ({"online": {"replay": "a", "store": "b"}, "gsrm": "gsrm"}, "a `replay` asks nobody"),
        ({"online": {"people": {"delay": [5, 2]}}, "gsrm": "gsrm"}, "longer than the longest"),
        ({"online": {"people": {"people": [{"name": "a"}, {"name": "a"}]}}, "gsrm": "gsrm"}, "same name"),
    ],
)
def test_what_does_not_fit_is_said(given: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Examination.model_validate(given)


def test_without_a_gsrm_questions_are_drawn_at_random() -> None:
    how = Examination.model_validate({"online": {"policies": {"random": 3, "tail": 1}}})
    assert how.resolved_mode == "human_only" and how.online is not None
    assert how.online.shares == {"random": 0.75, "tail": 0.25}


def test_a_stage_without_it_keeps_its_fingerprint() -> None:
    assert "online" not in Examination().computed()
