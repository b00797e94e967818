"""What a stage gets to work with: its settings, its folder, and the folders of the stages before it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration, read_demonstrations, write_demonstrations
from taosr_she.data.probe import hold_out
from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.domain import Domain
from taosr_she.domain.malformed import malformed_warning
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.model.domain_file import DOMAIN_FILE, difference
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy

SPLITS = ("demonstration", "training", "development", "test")


@dataclass(frozen=True)
class DataFolder:
    """The files of a data stage: pairs by split, demonstrations, annotations for training, judges and evaluation."""

    folder: Path

    def write(
        self,
        pairs: dict[str, list[Pair]],
        demonstrations: list[Demonstration],
        annotations: list[Annotation],
        held_out: list[Annotation],
        truth: list[Annotation],
        probe_share: float = 0.0,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Write everything; returns the counts. The annotations of a `probe_share` of the annotated pairs go apart."""
        annotations, probe = hold_out(annotations, probe_share, seed)
        for split in SPLITS:
            write_pairs(self.folder / f"{split}.jsonl", pairs.get(split, []))
        write_demonstrations(self.folder / "demonstrations.jsonl", demonstrations)
        write_annotations(self.folder / "annotations.jsonl", annotations)
        write_annotations(self.folder / "probe.jsonl", probe)
        write_annotations(self.folder / "held_out.jsonl", held_out)
        write_annotations(self.folder / "truth.jsonl", truth)
        counts: dict[str, Any] = {split: len(pairs.get(split, [])) for split in SPLITS}
        said = {"annotations": len(annotations), "probe": len(probe), "held_out": len(held_out)}
        return counts | {"demonstrations": len(demonstrations)} | said

    def file(self, split: str) -> Path:
        return self.folder / f"{split}.jsonl"

    def pairs(self, split: str) -> list[Pair]:
        return read_pairs(self.file(split))

    def demonstrations(self) -> list[Demonstration]:
        return list(read_demonstrations(self.folder / "demonstrations.jsonl"))

    def annotations(self) -> list[Annotation]:
        """What people said of the training split; training may use it."""
        return read_annotations(self.folder / "annotations.jsonl")

    def probe(self) -> list[Annotation]:
        """What people said of some training pairs, kept from verifier and judge: it watches the judge in training."""
        return read_annotations(self.folder / "probe.jsonl")

    def held_out(self) -> list[Annotation]:
        """What people said of the development split: it measures judges and trains nothing."""
        return read_annotations(self.folder / "held_out.jsonl")

    def truth(self) -> list[Annotation]:
        """References for evaluation, of the development and test splits."""
        return read_annotations(self.folder / "truth.jsonl")


@dataclass(frozen=True)
class Context:
    """Handed to the `run` of a stage."""

    name: str
    folder: Path
    recipe: Recipe
    domain: Domain
    progress: Progress
    stages: Path = field(default=Path())

    def data(self, stage: str) -> DataFolder:
        """The files of an earlier data stage."""
        return DataFolder(self.stages / stage)

    def checkpoint(self, stage: str) -> Path:
        """The Hugging Face folder of an earlier training stage."""
        return self.stages / stage / "checkpoint"

    def policy(self, stage: str, dtype: str = "float32") -> "Policy":
        """The model of an earlier training stage, on the recipe's device. Float32 to train it, `auto` to ask it alone.

        UserError when it was trained for another domain than the recipe's: somebody has put it there.
        """
        from taosr_she.model.policy import load_policy

        folder = self.checkpoint(stage)
        policy = load_policy(folder, self.recipe.device, dtype)
        if policy.domain is not None and (where := difference(policy.domain, self.domain)) is not None:
            raise UserError(
                f"stage '{self.name}': {folder / DOMAIN_FILE} differs from the recipe's domain in {where}: this is not "
                f"the checkpoint that stage '{stage}' wrote; run '{stage}' anew"
            )
        policy.domain = self.domain
        return policy

    def tell_malformed(self, reasons: Iterable[str | None], model: str) -> None:
        """Say so when too many responses of the stage `model` are malformed; reasons as of `malformed_warning`."""
        if warning := malformed_warning(reasons):
            self.progress.say(f"{self.name}, responses of '{model}': {warning}")
