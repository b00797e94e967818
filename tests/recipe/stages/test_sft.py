"""Options of the SFT stage that must fit together."""

import pytest
from pydantic import ValidationError

from taosr_she.recipe.stages.sft import SFTStage


def test_a_weight_of_the_label_needs_our_own_engine_and_is_no_new_training_while_it_is_one() -> None:
    with pytest.raises(ValidationError, match="label_weight needs `settings.engine: own`"):
        SFTStage.model_validate({"kind": "sft", "label_weight": 8.0, "settings": {"engine": "trl"}})
    plain, weighed = (SFTStage.model_validate({"kind": "sft", "label_weight": w}) for w in (1.0, 8.0))
    assert "label_weight" not in plain.computed() and weighed.computed()["label_weight"] == 8.0
