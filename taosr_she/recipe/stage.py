"""The definition of a kind of stage: its settings, its inputs, its outputs, its run."""

from typing import Any, ClassVar

from taosr_she.base.config import Strict
from taosr_she.base.import_path import is_import_path, source_files
from taosr_she.data.fingerprint import fingerprint_file
from taosr_she.domain.domain import Domain
from taosr_she.recipe.context import Context

SAMPLE_ROWS = 512
"""Maximum number of responses that a stage samples at the same time."""


class Stage(Strict):
    """Base of all kinds of stage. The fields of a kind are its settings in the recipe.

    Libraries that are slow to import (torch and all that needs it) are imported inside of `run`: a mistake in a recipe
    is told without them.
    """

    kind: str
    """Name of the kind, or the import path of a kind from outside this package."""
    offers: ClassVar[str] = ""
    """What it offers to later stages: `data` (the files of `DataFolder`), `checkpoint` (a policy in `checkpoint/`),
    `select` (pairs in `selected.jsonl`), `gsrm`, `scalar_reward_model`. Empty: nothing."""
    checkpoint_is: ClassVar[str] = ""
    """Description of its checkpoint, for the model card. Empty: it writes none."""
    keeps_domain: ClassVar[bool] = True
    """Whether a kind with `start` works in the domain of the checkpoint it starts from; else in the run's."""

    def reads(self) -> list[tuple[str, str]]:
        """(required output, stage name) of every earlier stage that it reads."""
        return []

    def files(self) -> dict[str, str]:
        """Name -> fingerprint of its inputs from outside the run: files, and code that its settings name."""
        return {}

    def domain_of(self, domain: Domain) -> Domain:
        """The domain of its checkpoint, if this stage starts in `domain`: the same, unless the kind changes it."""
        return domain

    def check(self, name: str, domain: Domain) -> None:
        """Raises UserError for problems that would otherwise only appear when this stage, called `name`, runs."""

    def check_start(self, name: str, domain: Domain) -> None:
        """The same, for problems that matter only if the stage is still to run: the model it starts from."""

    def run(self, context: Context) -> dict[str, Any]:
        """Fill the folder `context.folder`, and nothing else; returns a summary, e.g. `{"pairs": 12}`."""
        raise NotImplementedError(f"stage kind {self.kind} has no run")


def code_fingerprints(names: list[str]) -> dict[str, str]:
    """Import path -> fingerprint of its module's file, for those names that are import paths: a stage whose code has
    changed runs again."""
    return {p: fingerprint_file(file) for p, file in source_files([n for n in names if is_import_path(n)]).items()}
