"""The teacher that writes only the label."""

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.teachers.label import label_demonstration
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response

WHOLE = load_domain("esci")
ALONE = WHOLE.with_overrides({"steps": [WHOLE.steps[WHOLE.label_step].model_dump(mode="json")]})


def test_the_label_is_the_whole_response() -> None:
    response = label_demonstration(ALONE, Pair("p", "q", "boots", Product("Boots"), label="S")).response
    assert response == "[label] S"
    parsed = parse_response(ALONE, response)
    assert parsed.well_formed and parsed.label == "S"


def test_among_other_steps_only_the_label_is_taught() -> None:
    shown = label_demonstration(WHOLE, Pair("p", "q", "boots", Product("Boots"), label="S"))
    assert shown.response == f"[{WHOLE.step_keys[WHOLE.label_step]}] S"
    assert shown.taught == (WHOLE.step_keys[WHOLE.label_step],)


def test_a_pair_without_a_label_is_refused() -> None:
    with pytest.raises(UserError, match="pair 'p' has no label"):
        label_demonstration(ALONE, Pair("p", "q", "boots", Product("Boots")))
