"""Supervised fine-tuning of the start model on the demonstrations."""

import json
import math
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration, fitted
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.carries import check_responses
from taosr_she.model.domain_file import DOMAIN_FILE, difference, saved_domain
from taosr_she.model.example import Example, answer
from taosr_she.model.folder import check_folder
from taosr_she.model.names import TINY
from taosr_she.model.taught import mask_reasoning, teach_steps, weigh_label
from taosr_she.model.tiny import TinyConfig
from taosr_she.recipe.attempts import Attempts
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import Stage
from taosr_she.train.sft.learnt import LITTLE, label_learnt
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class SFTStage(Stage):
    """Supervised fine-tuning on the demonstrations of a data stage."""

    later: ClassVar[dict[str, Any]] = {
        "start": None,
        "domain_overrides": {},
        "reasoning_masked": 0.0,
        "label_weight": 1.0,
        "attempts": 1,
    }
    kind: Literal["sft"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    keeps_domain: ClassVar[bool] = False
    checkpoint_is: ClassVar[str] = "a language model fine-tuned on demonstrations of stepwise judging"
    data: str = "data"
    """Name of the data stage."""
    model: str = TINY
    """`tiny`, another short name (`smollm2-135m`: docs/models.md), a folder, or a name on the Hugging Face hub."""
    start: str | None = None
    """Name of an earlier stage whose checkpoint is the start, instead of `model`. Its domain may be another, for
    instance the label alone: this stage teaches the run's, with `domain_overrides`."""
    other_domain: bool = False
    """Start from `model` even if its `domain.yaml` names another domain than the recipe."""
    domain_overrides: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the run's domain in this stage and in all that start from its checkpoint, e.g.
    `{answer_first: true}`: so one run compares both orders. The labels stay, and no step is added."""
    reasoning_masked: float = Field(default=0.0, ge=0, lt=1)
    """For a domain with the label first: share of the tokens of the reasoning, drawn at random, that are not trained
    on; the label, the headers and the end always are. So the label gets a larger part of the loss
    (docs/label-mode.md)."""
    label_weight: float = Field(default=1.0, gt=0)
    """Weight of the label's tokens in the loss; all others count 1. Above 1, to keep what the start knows of labels
    while it learns the steps; shown together with two other options only (docs/real-data.md)."""
    attempts: int = Field(default=1, ge=1)
    """Number of trainings at most, for the label alone: one that has hardly learnt more than how frequent each label is
    (`label_learnt` below 0.2) starts again, with the examples in another order (docs/real-data.md)."""
    tiny: TinyConfig = TinyConfig()
    """Size of the tiny model."""
    settings: SFTSettings = SFTSettings()
    """How to train."""

    @model_validator(mode="after")
    def _one_start(self) -> "SFTStage":
        if self.start is not None and self.model != TINY:
            raise ValueError("training starts from a stage (`start`) or from a `model`: name one of them")
        return self

    @model_validator(mode="after")
    def _only_ours_weighs(self) -> "SFTStage":
        if self.label_weight != 1 and self.settings.engine == "trl":
            raise ValueError("label_weight needs `settings.engine: own`")
        return self

    @model_validator(mode="after")
    def _attempts_have_one_pass(self) -> "SFTStage":
        if self.attempts > 1 and self.label_weight != 1:
            raise ValueError("`attempts` is for the label alone, where `label_weight` changes nothing: leave one out")
        return self

    def reads(self) -> list[tuple[str, str]]:
        start = [("checkpoint", self.start)] if self.start is not None else []
        return [("data", self.data), *start]

    def computed(self) -> dict[str, Any]:
        return {name: value for name, value in super().computed().items() if name != "other_domain"}

    def domain_of(self, domain: Domain) -> Domain:
        return domain.with_overrides(self.domain_overrides) if self.domain_overrides else domain

    def check(self, name: str, domain: Domain) -> None:
        own = self.domain_of(domain)
        if own.codes != domain.codes:
            raise UserError(
                f"stage '{name}': domain_overrides changes the labels to {', '.join(own.codes)}, and the pairs have "
                f"{', '.join(domain.codes)}: change them in the recipe's `domain_overrides`"
            )
        added = [key for key in own.step_keys if key not in domain.step_keys]
        if added:
            raise UserError(
                f"stage '{name}': domain_overrides adds the step '{added[0]}', of which the demonstrations know "
                "nothing: add it in the recipe's `domain_overrides`"
            )
        if self.attempts > 1 and len(own.steps) > 1:
            raise UserError(
                f"stage '{name}': attempts is for the label alone, and here responses have {len(own.steps)} steps: "
                "leave it out, or set `domain_overrides: {steps: [...]}` to the label step"
            )
        if self.reasoning_masked and own.label_step != 0:
            raise UserError(
                f"stage '{name}': reasoning_masked is for a domain with the label first; here the label needs the "
                "reasoning before it: set `domain_overrides: {answer_first: true}`, or leave it out"
            )

    def check_start(self, name: str, domain: Domain) -> None:
        """UserError when the model is not there or cannot be used, or was trained for another domain than the recipe's
        and `other_domain` does not say that this is meant."""
        domain = self.domain_of(domain)
        if self.start is not None or self.model == TINY:
            return
        check_folder(self.model)
        if self.other_domain:
            return
        own = saved_domain(self.model)
        if own is not None and (where := difference(own, domain)) is not None:
            raise UserError(
                f"stage '{name}': model {self.model} was trained for the domain '{own.name}' of its {DOMAIN_FILE}, and "
                f"the recipe's domain '{domain.name}' differs from it in {where}; give the recipe "
                f"`domain: {self.model}/{DOMAIN_FILE}`, or this stage `other_domain: true`"
            )

    def run(self, context: Context) -> dict[str, Any]:
        """Build or load the model, tokenise the demonstrations, train, save the checkpoint."""
        data, domain = context.data(self.data), self.domain_of(context.domain)
        pairs = {p.pair_id: p for p in data.pairs("demonstration")}
        given = data.demonstrations()
        demonstrations = fitted(domain, given)
        if not demonstrations:
            raise UserError(
                f"stage '{context.name}': the data stage '{self.data}' has no demonstrations"
                + (f" that come to the label, with which every response of '{domain.name}' begins" if given else "")
            )
        if len(demonstrations) < len(given):
            context.progress.say(
                f"{context.name}: {len(given) - len(demonstrations)} of {len(given)} demonstrations end before the "
                "label and are left out: here a response begins with it"
            )
        attempts = Attempts(context.folder)
        while True:
            policy, learnt = self._train(context, domain, pairs, demonstrations, attempts.seed(context.recipe.seed))
            if not self._little(context, learnt) or attempts.number >= self.attempts:
                break
            attempts.again(learnt)
            context.progress.say(f"{context.name}: attempt {attempts.number} of at most {self.attempts}")
        parameters = sum(p.numel() for p in policy.model.parameters())
        counts = json.loads((context.folder / "sft.json").read_text("utf-8"))  # without what was too long
        found = {key: counts[key] for key in ("examples", "too_long", "steps")} | {"parameters": parameters}
        told = {} if math.isnan(learnt) else {"label_learnt": round(learnt, 3)}
        return found | told | ({"attempts": attempts.number} if self.attempts > 1 else {})

    def _train(
        self, context: Context, domain: Domain, pairs: dict[str, Pair], demonstrations: list[Demonstration], seed: int
    ) -> tuple["Policy", float]:
        """The trained policy, and how much it has learnt of the label; NaN if that cannot be told."""
        from taosr_she.train.sft.loop import METRICS, labelled_tokens

        policy = self._start(context, domain, pairs, demonstrations)
        examples = [example_of(policy, domain, pairs[d.pair_id], d, self.label_weight) for d in demonstrations]
        if self.reasoning_masked:
            draws = Random(f"reasoning {context.recipe.seed}")
            examples = [mask_reasoning(policy, domain, e, self.reasoning_masked, draws) for e in examples]
        check_responses(policy, domain, [(d.pair_id, d.response) for d in demonstrations])
        total = self.settings.total_steps(len(examples))
        update = context.progress.stage(context.name, total)
        policy = train_sft(
            policy, examples, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
        )  # fmt: skip
        if len(domain.steps) > 1 or self.label_weight != 1:
            return policy, math.nan
        losses = [json.loads(row)["loss"] for row in (context.folder / METRICS).read_text("utf-8").splitlines()]
        labels = [str(pairs[d.pair_id].label) for d in demonstrations]
        return policy, label_learnt(losses, self.settings.epochs, labelled_tokens(examples) / len(examples), labels)

    def _start(
        self, context: Context, domain: Domain, pairs: dict[str, Pair], demonstrations: list[Demonstration]
    ) -> "Policy":
        """The model as it is before training."""
        from taosr_she.model.policy import load_policy
        from taosr_she.model.tiny import build_tiny

        if self.start is not None:
            policy = context.policy(self.start)
        elif self.model == TINY:
            texts = [render_prompt(domain, pairs[d.pair_id]) + d.response for d in demonstrations]
            policy = build_tiny(texts, domain, self.tiny, context.recipe.seed).to(context.recipe.device)
        else:
            policy = load_policy(self.model, context.recipe.device, "float32")
        policy.domain = domain  # from here on; `check_start` has seen to it that another one was asked for
        return policy

    def _little(self, context: Context, share: float) -> bool:
        """Whether `share` is so little that the model may know frequencies alone; says so."""
        little = share < LITTLE  # not if it is NaN
        if little:
            context.progress.say(
                f"{context.name}: the first pass ends with a loss on new examples only {max(share, 0):.0%} below that "
                "of a model that knows how frequent each label is, and nothing of the pairs. If the curve of the loss "
                "is flat, train with more examples, another seed, another `learning_rate`, or `attempts: 3`"
            )
        return little


def example_of(
    policy: "Policy", domain: Domain, pair: Pair, demonstration: Demonstration, label_weight: float = 1.0
) -> Example:
    """The example of a demonstration: all of its response, or only the steps that it teaches."""
    prompt = policy.encode_prompt(domain, pair)
    if demonstration.taught is None:
        example = answer(prompt, policy.encode_response(demonstration.response))
    else:
        example = teach_steps(policy, domain, prompt, demonstration.response, demonstration.taught)
    return example if label_weight == 1 else weigh_label(policy, domain, example, len(prompt), label_weight)
