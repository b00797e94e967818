"""The models that stages start from: what can be said of them before anything runs."""

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.model.domain_file import DOMAIN_FILE, difference, saved_domain
from taosr_she.model.folder import check_folder
from taosr_she.recipe.kinds import SFTStage, Stage


def check_start(name: str, stage: Stage, domain: Domain) -> None:
    """UserError when a stage starts from a model that is not there or cannot be used, or that was trained for another
    domain than the recipe's and `other_domain` does not say that this is meant."""
    if not isinstance(stage, SFTStage) or stage.model == "tiny":
        return
    check_folder(stage.model)
    if stage.other_domain:
        return
    own = saved_domain(stage.model)
    if own is not None and (where := difference(own, domain)) is not None:
        raise UserError(
            f"stage '{name}': model {stage.model} was trained for the domain '{own.name}' of its {DOMAIN_FILE}, and "
            f"the recipe's domain '{domain.name}' differs from it in {where}; give the recipe "
            f"`domain: {stage.model}/{DOMAIN_FILE}`, or this stage `other_domain: true`"
        )
