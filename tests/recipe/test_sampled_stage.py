"""Sampling of the stages that train on their start policy's responses."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from toy_models import device, domain, make_policy, small, texts, tiny  # noqa: F401

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model import responses, sampler
from taosr_she.model.policy import Policy
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.stages.label_sft import LabelSFTStage

PAIR = Pair("p", "red boots", "red boots", Product("blue tent"), label="1")


def label_sft(options: dict[str, Any]) -> LabelSFTStage:
    stages = {"data": {"kind": "market"}, "sft": {"kind": "sft"}, "it": {"kind": "label_sft", **options}}
    stage = Recipe.model_validate({"name": "x", "stages": stages}).stages["it"]
    assert isinstance(stage, LabelSFTStage)
    return stage


def reading(policy: Policy, pairs: Callable[[str], list[Pair]]) -> Any:
    """The context of a stage that reads `pairs` of a split and starts from the policy."""
    return SimpleNamespace(
        name="it", domain=load_domain("taobao"), recipe=SimpleNamespace(seed=1), policy=lambda name: policy,
        data=lambda name: SimpleNamespace(pairs=pairs), progress=Progress(Console(quiet=True)),
    )  # fmt: skip


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
    tiny: Policy,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def sample(*args: Any) -> None:
        seen.append(torch.is_autocast_enabled(tiny.device.type))
        raise InterruptedError

    monkeypatch.setattr(sampler, "sample_groups", sample)
    with pytest.raises(InterruptedError):
        label_sft({"settings": {"precision": precision}}).run(reading(tiny, lambda split: [PAIR]))
    assert seen == [precision == "bfloat16"]


@pytest.mark.parametrize(("given", "read"), [({}, "training"), ({"split": "demonstration"}, "demonstration")])
def test_label_sft_learns_labels_of_the_split_that_is_named(
    given: dict[str, str],
    read: str,
    tiny: Policy,  # noqa: F811
) -> None:
    """The made-up queries of `matching` are only in the demonstration split."""
    asked: list[str] = []

    def pairs(split: str) -> list[Pair]:
        asked.append(split)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        label_sft(given).run(reading(tiny, pairs))
    assert asked == [read]
