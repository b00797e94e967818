"""Sampling of the stages that train on their start policy's responses."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_models import device, make_policy, texts, tiny  # noqa: F401

from taosr_she.model import responses, sampler
from taosr_she.model.policy import Policy
from taosr_she.recipe.config import Recipe


@pytest.mark.parametrize("kind", ["dpo", "rejection", "scalar_reward_model"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_responses_are_sampled_in_the_precision_of_the_training(
    kind: str,
    precision: str,
    make_policy: Callable[..., Policy],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = make_policy("llama")
    seen = []

    def sample(*args: Any) -> responses.Sampled:
        seen.append(torch.is_autocast_enabled(policy.device.type))
        return responses.Sampled([], [], [])

    monkeypatch.setattr(responses, "sample_responses", sample)
    stage = Recipe.model_validate(
        {"name": "x", "stages": {"data": {"kind": "market"}, "sft": {"kind": "sft"},
                                 "it": {"kind": kind, "settings": {"precision": precision}}}}
    ).stages["it"]  # fmt: skip
    context: Any = SimpleNamespace(
        domain=None, recipe=SimpleNamespace(seed=1), tell_malformed=lambda reasons, start: None,
        data=lambda name: SimpleNamespace(pairs=lambda split: []),
    )  # fmt: skip
    stage.sample(context, policy)
    assert seen == [precision == "bfloat16"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_reasoning_for_label_sft_is_written_in_the_precision_of_the_training(
    precision: str,
    make_policy: Callable[..., Policy],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = make_policy("llama")
    seen = []

    def sample(*args: Any) -> None:
        seen.append(torch.is_autocast_enabled(policy.device.type))
        raise InterruptedError

    monkeypatch.setattr(sampler, "sample_groups", sample)
    stage = Recipe.model_validate(
        {"name": "x", "stages": {"data": {"kind": "market"}, "sft": {"kind": "sft"},
                                 "it": {"kind": "label_sft", "settings": {"precision": precision}}}}
    ).stages["it"]  # fmt: skip
    context: Any = SimpleNamespace(
        domain=None, recipe=SimpleNamespace(seed=1), policy=lambda name: policy,
        data=lambda name: SimpleNamespace(pairs=lambda split: []),
    )  # fmt: skip
    with pytest.raises(InterruptedError):
        stage.run(context)
    assert seen == [precision == "bfloat16"]


@pytest.mark.parametrize(("given", "read"), [({}, "training"), ({"split": "demonstration"}, "demonstration")])
def test_label_sft_learns_labels_of_the_split_that_is_named(
    given: dict[str, str],
    read: str,
    make_policy: Callable[..., Policy],  # noqa: F811
) -> None:
    """The made-up queries of `matching` are only in the demonstration split."""
    asked: list[str] = []

    def pairs(split: str) -> list[Any]:
        asked.append(split)
        raise InterruptedError

    stages = {"data": {"kind": "market"}, "sft": {"kind": "sft"}, "it": {"kind": "label_sft", **given}}
    stage = Recipe.model_validate({"name": "x", "stages": stages}).stages["it"]
    policy = make_policy("llama")
    context: Any = SimpleNamespace(
        domain=None, recipe=SimpleNamespace(seed=1), policy=lambda name: policy,
        data=lambda name: SimpleNamespace(pairs=pairs),
    )  # fmt: skip
    with pytest.raises(InterruptedError):
        stage.run(context)
    assert asked == [read]
