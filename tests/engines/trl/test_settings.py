"""What TRL cannot do is refused in one line."""

from typing import Any

import pytest
from pydantic import ValidationError

from taosr_she.base.config import describe
from taosr_she.base.errors import UserError
from taosr_she.bench.trl_equal import Given, given_settings
from taosr_she.engines.trl.arguments import grpo_arguments, rows_at_once
from taosr_she.engines.trl.settings import TRLSettings
from taosr_she.recipe.stages.rl import RLStage

STAGE: dict[str, Any] = {"kind": "rl", "engine": "trl"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"settings": {"refill": 2}}, "`settings.refill`: only engine: own can do it"),
        ({"settings": {"loss": {"label_entropy": 0.1}}}, "`settings.loss.label_entropy`: only engine: own"),
        ({"watch": {}}, "`watch`: only engine: own"),
        (
            {"curriculum": [{"name": "a", "updates": 2, "settings": {"sampling": {"temperature": 0.5}}}]},
            "settings of curriculum stage 'a' other than `credit`: only engine: own",
        ),
        ({"trl": {"arguments": {"use_liger_kernel": True}}}, "arguments.use_liger_kernel is refused"),
        ({"trl": {"arguments": {"importance_sampling_level": "sequence"}}}, "a ratio of whole responses"),
        ({"engine": "own", "trl": {"vllm": "colocate"}}, "`trl` is for engine: trl"),
    ],
)
def test_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        RLStage.model_validate(STAGE | wrong)
    line = describe(error.value)
    assert said in line and "\n" not in line


def test_the_fingerprint_of_our_own_loop_knows_nothing_of_it() -> None:
    assert not {"engine", "trl"} & RLStage.model_validate({"kind": "rl"}).computed().keys()
    assert RLStage.model_validate(STAGE).computed()["engine"] == "trl"


def test_parts_of_a_batch() -> None:
    settings = given_settings(tokens_per_microbatch=1000, pairs_per_update=6)  # 24 responses of at most 96 tokens
    assert rows_at_once(settings, 104, 1) == (4, 6)
    assert rows_at_once(settings, 20, 3) == (8, 1)
    with pytest.raises(UserError, match="24 responses cannot be divided equally among 5 processes"):
        rows_at_once(settings, 104, 5)
    with pytest.raises(UserError, match=r"a prompt of 990 tokens .* exceed tokens_per_microbatch=1000"):
        rows_at_once(settings, 990, 1)


def test_arguments_of_trl(given: Given, tmp_path: Any) -> None:
    from taosr_she.engines.trl.world import world

    def arguments(**more: Any) -> Any:
        policy = given.policy()
        with world(policy.device, "test"):
            return grpo_arguments(
                policy, given_settings(), TRLSettings(arguments=more), 1, tmp_path, 40, policy.device, 1
            )

    assert arguments(torch_empty_cache_steps=3).torch_empty_cache_steps == 3
    with pytest.raises(UserError, match=r"trl.arguments.lerning_rate: GRPOConfig has no such argument"):
        arguments(lerning_rate=1)
    with pytest.raises(UserError, match=r"trl.arguments.learning_rate follows from the settings of the stage"):
        arguments(learning_rate=1.0)
