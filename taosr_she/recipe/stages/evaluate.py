"""Measure models and baselines on a split, with intervals, slices and paired comparisons."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.baselines import Clock, answers_of, find_baseline
from taosr_she.evaluate.choice import DecisionConfig, choose_decision, choose_tier_threshold, decided
from taosr_she.evaluate.labels import label_counts, label_shares
from taosr_she.evaluate.people import human_ceiling
from taosr_she.evaluate.prediction import Prediction, write_predictions
from taosr_she.evaluate.results import comparisons, model_results, true_labels
from taosr_she.evaluate.robustness import PROBES, disturbed, robustness
from taosr_she.evaluate.tiers import tier_results, with_tiers
from taosr_she.examine.verifier import Verifier
from taosr_she.judge.decision import Decision, save_decision
from taosr_she.judge.mode import Mode
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import Stage, code_fingerprints

if TYPE_CHECKING:
    from taosr_she.evaluate.run import Predicted
    from taosr_she.model.policy import Policy

LABEL_ROW = "-label"
"""Ending of the name of a row in mode `label`."""


class ModelRow(NamedTuple):
    """A row of the results."""

    name: str
    stage: str  # whose checkpoint is measured
    mode: Mode


class EvaluateStage(Stage):
    """Measure models on a split that none of them was trained on."""

    later: ClassVar[dict[str, Any]] = {"decision": DecisionConfig(), "label_mode": ()}
    kind: Literal["evaluate"]
    """Name of the kind."""
    models: tuple[str, ...]
    """Stages whose checkpoints are measured, in the order of the table."""
    label_mode: tuple[str, ...] = ()
    """Stages whose checkpoints are measured in mode `label`, without a response: in rows of their own after the
    others, called `NAME-label`. Their domain needs the label step first or alone."""
    data: str = "data"
    """Name of the data stage."""
    split: Literal["development", "test"] = "test"
    """Which pairs."""
    baselines: tuple[str, ...] = ()
    """Baselines fitted on the training split: `majority`, `tfidf`, `minilm` and `cross_encoder` (extra `baselines`;
    tuned on the development split), or your own by import path (`my_package.baselines:my_baseline`,
    docs/extending.md), whose last part is its name in the table."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs (a, b) for the paired comparison b - a; empty: every model against the one before it."""
    decision: DecisionConfig = DecisionConfig()
    """Decision rule for the labels of models and baselines. Any rule but `text` is saved in each model's checkpoint
    (`decision.json`), where `judge` and `load_judge` find it, and so is the threshold of the domain's tiers."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit of a response."""
    batch_rows: int = Field(default=256, gt=0)
    """Responses generated at the same time."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples (over queries)."""
    robustness_pairs: int = Field(default=0, ge=0)
    """Pairs that are answered again under every robustness probe, the first ones of the split. 0: none."""

    @field_validator("baselines")
    @classmethod
    def _check_baselines(cls, baselines: tuple[str, ...]) -> tuple[str, ...]:
        for name in baselines:
            find_baseline(name)
        return baselines

    @model_validator(mode="after")
    def _check(self) -> "EvaluateStage":
        names = [*map(short_name, self.baselines), *(row.name for row in self.rows)]
        if not names:
            raise ValueError("neither `models`, `label_mode` nor `baselines`: nothing to measure")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' occurs twice in `models`, `label_mode` and `baselines`")
        for a, b in self.compare:
            unknown = [name for name in (a, b) if name not in names]
            if unknown:
                raise ValueError(f"`compare` names '{unknown[0]}', which is not among {', '.join(names)}")
            if a == b:
                raise ValueError(f"`compare` sets '{a}' against itself")
        if self.split == "development" and self.decision.open:
            raise ValueError("`decision` is chosen on the development pairs: measure on the test split")
        return self

    @property
    def rows(self) -> list[ModelRow]:
        """The rows of models, in the order of the table."""
        return [
            *(ModelRow(name, name, "reason") for name in self.models),
            *(ModelRow(name + LABEL_ROW, name, "label") for name in self.label_mode),
        ]

    def reads(self) -> list[tuple[str, str]]:
        measured = dict.fromkeys([*self.models, *self.label_mode])
        return [("data", self.data), *(("checkpoint", m) for m in measured)]

    def files(self) -> dict[str, str]:
        return code_fingerprints(list(self.baselines))

    def check(self, name: str, domain: Domain) -> None:
        if {"minilm", "cross_encoder"} & set(self.baselines):
            from taosr_she.evaluate.minilm import check_library

            check_library()
        if self.decision.tier_threshold is not None and not domain.tiers:
            raise UserError(
                f"stage '{name}': decision.tier_threshold needs a domain with tiers, and '{domain.name}' has none: "
                "give it `tiers` (docs/label-mode.md), or leave the threshold out"
            )

    def run(self, context: Context) -> dict[str, Any]:
        """Write `results.json`, one file of predictions a model, and one on the development pairs, without a decision
        rule, if they are needed."""
        data, domain, seed = context.data(self.data), context.domain, context.recipe.seed
        pairs = data.pairs(self.split)
        if not pairs:
            raise UserError(f"stage '{context.name}': the {self.split} split of '{self.data}' is empty")
        training = data.pairs("training")
        to_tune = data.pairs("development") if self.split == "test" else []  # never tune on the measured split
        development = to_tune if self.decision.open else []
        prior = training_prior(domain, training)
        decisions: dict[str, Decision] = {}
        scores: dict[str, dict[str, float]] = {}
        tier_scores: dict[str, dict[str, float]] = {}

        def by_rule(
            name: str, answers: list[Prediction], on_development: list[Prediction], chains: int = 1
        ) -> list[Prediction]:
            """The predictions with labels by the rule that is best on the development pairs."""
            config = self.decision.model_copy(update={"chains": chains})
            rule, scores[name] = choose_decision(domain, on_development, prior, config)
            decisions[name], tier_scores[name] = choose_tier_threshold(domain, on_development, rule, self.decision)
            if on_development:
                write_predictions(context.folder / f"development-{name}.jsonl", on_development)
            return decided(domain, answers, decisions[name])

        predictions: dict[str, list[Prediction]] = {}
        probed: dict[str, dict[str, list[Prediction]]] = {}
        speed: dict[str, Predicted] = {}
        pairs_per_second: dict[str, float | None] = {}
        for baseline in self.baselines:
            context.progress.say(f"{context.name}: {short_name(baseline)} is fitted on the training split")
            name, clock = short_name(baseline), Clock()
            answers = answers_of(baseline, domain, training, to_tune, [*development, *pairs], seed, clock)
            pairs_per_second[name] = len(answers) / clock.seconds if clock.seconds else None
            predictions[name] = by_rule(name, answers[len(development) :], answers[: len(development)])
        update = context.progress.stage(context.name, len(self.rows))
        for done, (name, stage, mode) in enumerate(self.rows, start=1):
            context.progress.say(f"{context.name}: {name} answers {len(pairs)} pairs")
            policy, own = context.policy(stage, "auto"), context.domain_of(stage)
            verifier = Verifier(own, data.truth())
            answer = partial(self._answers, context, policy, own, verifier, mode)
            speed[name] = answer(pairs)
            pairs_per_second[name] = speed[name].pairs_per_second
            on_development = answer(development).predictions if development else []
            chains = self.decision.chains if mode == "reason" else 1
            predictions[name] = by_rule(name, speed[name].predictions, on_development, chains)
            if self.decision.saved:
                save_decision(decisions[name], context.checkpoint(stage))
            context.tell_malformed((p.reason for p in predictions[name]), name)
            probed[name] = {
                probe: decided(
                    domain, answer(disturbed(probe, own, pairs[: self.robustness_pairs], seed)).predictions,
                    decisions[name],
                )
                for probe in (PROBES if self.robustness_pairs else ())
            }  # fmt: skip
            update(done, name)
        context.progress.say(f"{context.name}: metrics and their intervals, {self.resamples} resamples")
        results: dict[str, Any] = {
            "models": {},
            "codes": list(domain.codes),
            "step_keys": list(domain.step_keys),
            "split": self.split,
            "pairs": len(pairs),
            "labels_true": true_labels(domain, next(iter(predictions.values()))),
            "people": human_ceiling(domain, pairs, self.resamples, seed),
            "notes": list(context.recipe.notes),
        }
        for name, rows in predictions.items():
            write_predictions(context.folder / f"predictions-{name}.jsonl", rows)
            tiers = tier_results(domain, rows, decisions[name], self.resamples, seed)
            results["models"][name] = with_tiers(model_results(domain, rows, self.resamples, seed), tiers)
            results["models"][name]["decision"] = decisions[name].name
            results["models"][name]["decision_scores"] = scores[name]
            if tier_scores[name]:
                results["models"][name]["tiers"]["threshold_scores"] = tier_scores[name]
            for probe, answers in probed.get(name, {}).items():
                write_predictions(context.folder / f"predictions-{name}-{probe}.jsonl", answers)
            if probed.get(name):
                results["models"][name]["robustness"] = robustness(domain, rows, probed[name])
        for name, stage, _ in self.rows:
            metrics = results["models"][name]["metrics"]
            metrics["tokens_per_second"] = round(speed[name].tokens_per_second, 1)
            metrics["training_tokens_per_second"] = training_speed(context.stages / stage)
        for name, each in pairs_per_second.items():
            results["models"][name]["metrics"]["pairs_per_second"] = None if each is None else round(each, 1)
        names = [row.name for row in self.rows]
        chosen = list(self.compare) or list(pairwise(names))
        results["paired"] = comparisons(domain, predictions, chosen, self.resamples, seed)
        write_json(context.folder / "results.json", results)
        return {name: results["models"][name]["metrics"]["macro_f1"] for name in predictions}

    def _answers(
        self, context: Context, policy: "Policy", own: Domain, truth: Verifier, mode: Mode, pairs: Sequence[Pair]
    ) -> "Predicted":
        """A model's answers in its own domain, with their steps in the order of the run's."""
        from taosr_she.evaluate.run import aligned, predict

        found = predict(policy, own, pairs, truth, self.max_new_tokens, self.batch_rows, mode, self.decision.chains)
        return found._replace(predictions=aligned(context.domain, own, found.predictions))


def training_prior(domain: Domain, training: list[Pair]) -> dict[str, float]:
    """Code -> share of the label among the training pairs."""
    labels = [pair.label for pair in training]
    return label_shares(domain.codes, label_counts(domain.codes, labels, labels), given=False)


def short_name(baseline: str) -> str:
    """The name of a baseline in the results; for an import path, the part after the module."""
    return baseline.rpartition(":")[2]


def training_speed(stage: Path) -> float | None:
    """Median tokens per second of the updates of a training stage, sampling included; None if it samples nothing."""
    from taosr_she.train.state import metrics_rows

    rows = metrics_rows(stage / "metrics.jsonl")
    speeds = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row]
    return round(median(speeds), 1) if speeds else None
