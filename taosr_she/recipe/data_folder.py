"""The files of a data stage, which all later stages read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.data.demonstration import Demonstration, read_demonstrations, write_demonstrations
from taosr_she.data.probe import hold_out
from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.pair import Annotation, Pair

SPLITS = ("demonstration", "training", "development", "test")


@dataclass(frozen=True)
class DataFolder:
    """The files of a data stage: pairs by split, demonstrations, and annotations by their use."""

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
        """Annotations of the training split, which training may use."""
        return read_annotations(self.folder / "annotations.jsonl")

    def probe(self) -> list[Annotation]:
        """Annotations of some training pairs, held out from verifier and GSRM, to monitor the GSRM during training."""
        return read_annotations(self.folder / "probe.jsonl")

    def held_out(self) -> list[Annotation]:
        """Annotations of the development split: they measure GSRMs and are not trained on."""
        return read_annotations(self.folder / "held_out.jsonl")

    def truth(self) -> list[Annotation]:
        """References for evaluation, of the development and test splits."""
        return read_annotations(self.folder / "truth.jsonl")
