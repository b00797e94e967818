"""Distil a label-only student from the label distribution of a model that reasons."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from taosr_she.base.errors import UserError
from taosr_she.data.fingerprint import fingerprint_file
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.folder import check_folder
from taosr_she.model.names import TINY
from taosr_she.model.tiny import TinyConfig
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import SAMPLE_ROWS, Stage
from taosr_she.recipe.teaching import Teaching, teacher_distributions
from taosr_she.train.distil.settings import DistilSettings
from taosr_she.train.sft.train import FACTS, train_sft

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class DistilStage(Stage):
    """Distil a student that gives the label alone, in one short pass, from the label distribution of a teacher that
    reasons (docs/label-mode.md)."""

    kind: Literal["distil"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = (
        "a language model that gives the label alone, distilled from the label distribution of a model that reasons"
    )
    teacher: str
    """Name of the stage whose checkpoint is the teacher."""
    data: str = "data"
    """Name of the data stage."""
    splits: tuple[Literal["training", "demonstration"], ...] = ("training",)
    """Splits whose pairs are learnt from."""
    unlabelled: str | None = None
    """File or folder with more pairs, in any layout that is read; labels in it are not used. Unset: none."""
    teaching: Teaching = Teaching()
    """How the teacher is asked."""
    start: str | None = None
    """Name of the stage whose checkpoint is the start of the student. Unset: `model`."""
    model: str = TINY
    """The start of the student: `tiny`, another short name (`smollm2-135m`: docs/models.md), a folder, or a name on the
    Hugging Face hub."""
    tiny: TinyConfig = TinyConfig()
    """Size of the tiny model."""
    settings: DistilSettings = DistilSettings()
    """How to train."""

    @model_validator(mode="after")
    def _check_sources(self) -> "DistilStage":
        if self.start is not None and self.model != TINY:
            raise ValueError("the student starts from a stage (`start`) or from a `model`: name one of them")
        if not self.splits and self.unlabelled is None:
            raise ValueError("neither `splits` nor `unlabelled`: there is no pair to learn from")
        return self

    def reads(self) -> list[tuple[str, str]]:
        start = [("checkpoint", self.start)] if self.start is not None else []
        return [("data", self.data), ("checkpoint", self.teacher), *start]

    def files(self) -> dict[str, str]:
        return {} if self.unlabelled is None else {self.unlabelled: fingerprint_file(Path(self.unlabelled))}

    def domain_of(self, domain: Domain) -> Domain:
        return domain.label_alone()

    def check_start(self, name: str, domain: Domain) -> None:
        if self.start is None and self.model != TINY:
            check_folder(self.model)

    def run(self, context: Context) -> dict[str, Any]:
        """Ask the teacher about every pair, then train the student on its answers."""
        from taosr_she.train.distil.loss import SoftExamples

        domain, settings, seed = self.domain_of(context.domain), self.settings, context.recipe.seed
        pairs = self._pairs(context, domain)
        update = context.progress.stage(f"{context.name}: teacher", len(pairs))
        found = teacher_distributions(
            context.policy(self.teacher, "auto"), pairs, self.teaching, seed, context.folder / "teacher", SAMPLE_ROWS,
            lambda done: update(done, "pairs asked"),
        )  # fmt: skip
        taught = [(pair, row) for pair, row in zip(pairs, found.distributions, strict=True) if row is not None]
        if not taught:
            raise UserError(
                f"stage '{context.name}': '{self.teacher}' comes to a label for none of {len(pairs)} pairs; "
                "is `teaching.sampling.max_new_tokens` large enough?"
            )
        policy = self._student(context, domain, [pair for pair, _ in taught])
        soft = SoftExamples(policy, domain, settings.temperature, settings.human)
        examples = [soft.example(policy.encode_prompt(domain, pair), row, pair.label) for pair, row in taught]
        update = context.progress.stage(context.name, settings.total_steps(len(examples)))
        policy = train_sft(
            policy, examples, settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"), soft.loss(),
        )  # fmt: skip
        counts = json.loads((context.folder / FACTS).read_text("utf-8"))
        return {
            **{key: counts[key] for key in ("examples", "too_long", "steps")},
            "no_distribution": len(pairs) - len(taught),
            "teacher_tokens": found.tokens,
            "parameters": sum(p.numel() for p in policy.model.parameters()),
        }

    def _pairs(self, context: Context, domain: Domain) -> list[Pair]:
        """The pairs to learn from; each pair_id once, labelled ones first."""
        data = context.data(self.data)
        pairs = [pair for split in self.splits for pair in data.pairs(split)]
        if self.unlabelled is not None:
            loaded = load_pairs(Path(self.unlabelled), domain, quarantine=context.folder / "quarantine.jsonl")
            context.progress.say(
                f"{context.name}: {len(loaded.pairs)} pairs of {self.unlabelled}, {len(loaded.rejected)} rows left out"
            )
            pairs += [replace(pair, pair_id=f"unlabelled {pair.pair_id}", label=None) for pair in loaded.pairs]
        if not pairs:
            raise UserError(f"stage '{context.name}': '{self.data}' has no pair in {', '.join(self.splits)}")
        return list({pair.pair_id: pair for pair in pairs}.values())

    def _student(self, context: Context, domain: Domain, pairs: Sequence[Pair]) -> "Policy":
        from taosr_she.model.policy import load_policy
        from taosr_she.model.tiny import build_tiny

        device = context.recipe.device
        if self.start is not None:
            policy = context.policy(self.start)
        elif self.model == TINY:
            header, codes = domain.label_header, domain.codes
            texts = [f"{render_prompt(domain, pair)}{header} {codes[i % len(codes)]}" for i, pair in enumerate(pairs)]
            policy = build_tiny(texts, domain, self.tiny, context.recipe.seed).to(device)
        else:
            policy = load_policy(self.model, device, "float32")
        policy.domain = domain
        return policy
