"""What a stage gets to work with: its settings, its folder, and the folders of the stages before it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taosr_she.data.demonstration import Demonstration, read_demonstrations, write_demonstrations
from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress

SPLITS = ("demonstration", "training", "development", "test")


@dataclass(frozen=True)
class DataFolder:
    """The files of a data stage: pairs by split, demonstrations, references for training and for evaluation."""

    folder: Path

    def write(
        self,
        pairs: dict[str, list[Pair]],
        demonstrations: list[Demonstration],
        annotations: list[Annotation],
        truth: list[Annotation],
    ) -> dict[str, Any]:
        """Write everything; returns the counts."""
        for split in SPLITS:
            write_pairs(self.folder / f"{split}.jsonl", pairs.get(split, []))
        write_demonstrations(self.folder / "demonstrations.jsonl", demonstrations)
        write_annotations(self.folder / "annotations.jsonl", annotations)
        write_annotations(self.folder / "truth.jsonl", truth)
        counts: dict[str, Any] = {split: len(pairs.get(split, [])) for split in SPLITS}
        return counts | {"demonstrations": len(demonstrations), "annotations": len(annotations)}

    def pairs(self, split: str) -> list[Pair]:
        return read_pairs(self.folder / f"{split}.jsonl")

    def demonstrations(self) -> list[Demonstration]:
        return list(read_demonstrations(self.folder / "demonstrations.jsonl"))

    def annotations(self) -> list[Annotation]:
        """References that training may use."""
        return read_annotations(self.folder / "annotations.jsonl")

    def truth(self) -> list[Annotation]:
        """References for evaluation only."""
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
