"""What a stage works with: its settings, its folder, and the folders of earlier stages."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.malformed import malformed_warning
from taosr_she.model.domain_file import DOMAIN_FILE, difference
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.progress import Progress

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy
    from taosr_she.recipe.config import Recipe


@dataclass(frozen=True)
class Context:
    """The argument of a stage's `run`."""

    name: str
    folder: Path
    recipe: "Recipe"
    domain: Domain  # that the stage works in: of the checkpoint it starts from, else the run's
    progress: Progress
    stages: Path = field(default=Path())
    run_domain: Domain | None = None  # None: the same

    def domain_of(self, stage: str) -> Domain:
        """The domain of an earlier training stage's checkpoint."""
        return self.recipe.domain_of(stage, self.run_domain or self.domain)

    def data(self, stage: str) -> DataFolder:
        """The files of an earlier data stage."""
        return DataFolder(self.stages / stage)

    def checkpoint(self, stage: str) -> Path:
        """The Hugging Face folder of an earlier training stage."""
        return self.stages / stage / "checkpoint"

    def policy(self, stage: str, dtype: str = "float32", device: str | None = None) -> "Policy":
        """The model of an earlier training stage, on the recipe's device or another. Float32 to train it, `auto` only
        to run it.

        UserError if it was trained for another domain than the recipe says, because someone must have put it there.
        """
        from taosr_she.model.policy import load_policy

        folder = self.checkpoint(stage)
        policy, domain = load_policy(folder, device or self.recipe.device, dtype), self.domain_of(stage)
        if policy.domain is not None and (where := difference(policy.domain, domain)) is not None:
            raise UserError(
                f"stage '{self.name}': {folder / DOMAIN_FILE} differs from the recipe's domain in {where}: this is not "
                f"the checkpoint that stage '{stage}' wrote; run '{stage}' anew"
            )
        policy.domain = domain
        return policy

    def tell_malformed(self, reasons: Iterable[str | None], model: str) -> None:
        """Warn if too many responses of the stage `model` are malformed; reasons as in `malformed_warning`."""
        if warning := malformed_warning(reasons):
            self.progress.say(f"{self.name}, responses of '{model}': {warning}")
