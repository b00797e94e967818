"""What a kind of stage is: its settings, what it reads, what it offers, its run."""

from typing import Any, ClassVar

from taosr_she.base.config import Strict
from taosr_she.base.import_path import is_import_path, source_files
from taosr_she.data.fingerprint import fingerprint_file
from taosr_she.domain.domain import Domain
from taosr_she.recipe.context import Context

SAMPLE_ROWS = 512
"""Most responses that a stage samples at the same time."""


class Stage(Strict):
    """Base of all kinds of stage. The fields of a kind are its settings in the recipe.

    Libraries that are slow to import (torch and all that needs it) are imported inside of `run`: a mistake in a recipe
    is told without them.
    """

    kind: str
    """Name of the kind, or the import path of a kind that is not ours."""
    offers: ClassVar[str] = ""
    """What it offers to later stages: `data` (the files of `DataFolder`), `checkpoint` (a policy in `checkpoint/`),
    `select` (pairs in `selected.jsonl`), `gsrm`, `scalar_reward_model`. Empty: nothing."""
    checkpoint_is: ClassVar[str] = ""
    """What its checkpoint is, for the model card. Empty: it writes none."""

    def reads(self) -> list[tuple[str, str]]:
        """(what it must offer, stage name) of every earlier stage that it reads."""
        return []

    def files(self) -> dict[str, str]:
        """Name -> fingerprint of what it reads from outside of the run: files, and code that its settings name."""
        return {}

    def computed(self) -> dict[str, Any]:
        """The settings that decide what it computes. An option that came later is left out where it is not used, so
        that what was run before it still counts."""
        return self.model_dump(mode="json")

    def check(self, name: str, domain: Domain) -> None:
        """Raises UserError for what would only fail when the turn of this stage, called `name`, comes."""

    def check_start(self, name: str, domain: Domain) -> None:
        """The same, of what counts only where the stage is still to run: the model it starts from."""

    def run(self, context: Context) -> dict[str, Any]:
        """Fill the folder `context.folder`, and nothing else; returns what is worth a line, e.g. `{"pairs": 12}`."""
        raise NotImplementedError(f"stage kind {self.kind} has no run")


def code_fingerprints(names: list[str]) -> dict[str, str]:
    """Import path -> fingerprint of its module's file, for those names that are import paths: a stage whose code has
    changed runs again."""
    return {p: fingerprint_file(file) for p, file in source_files([n for n in names if is_import_path(n)]).items()}
