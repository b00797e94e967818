"""A pretrained model as it is, to measure it without any training."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.domain.domain import Domain
from taosr_she.model.folder import check_folder
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import Stage


class ModelStage(Stage):
    """A pretrained model as it is, to measure it without any training ("zero-shot")."""

    kind: Literal["model"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = "a pretrained language model, as it was found"
    model: str
    """A short name (`smollm2-135m`: docs/models.md), a folder, or a name on the Hugging Face hub."""
    domain_overrides: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the run's domain for this model, e.g. another prompt, or the label step alone."""

    def domain_of(self, domain: Domain) -> Domain:
        return domain.with_overrides(self.domain_overrides) if self.domain_overrides else domain

    def check(self, name: str, domain: Domain) -> None:
        self.domain_of(domain)

    def check_start(self, name: str, domain: Domain) -> None:
        check_folder(self.model)

    def run(self, context: Context) -> dict[str, Any]:
        """Save the model with the domain, as a checkpoint of this run."""
        from taosr_she.model.policy import load_policy, save_policy

        policy = load_policy(self.model, "cpu", "float32")
        policy.domain = self.domain_of(context.domain)
        save_policy(policy, context.checkpoint(context.name))
        return {"parameters": sum(p.numel() for p in policy.model.parameters())}
