"""What can be known of a recipe before the work is done: how stages, domain and places fit together."""

from taosr_she.base.errors import UserError
from taosr_she.data.columns import column_map
from taosr_she.data.teachers.lexical import check_steps
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.kinds import MarketStage, PairsStage, SelectStage

MARKET_DOMAIN = "taobao"
"""Whose steps and labels the market writes."""


def check_recipe(recipe: Recipe, domain: Domain) -> None:
    """Raises UserError for a stage that would only fail when its turn comes."""
    for name, stage in recipe.stages.items():
        if isinstance(stage, PairsStage):
            column_map("plain" if stage.layout == "auto" else stage.layout, stage.columns)
            if stage.teacher == "lexical":
                check_steps(domain)
        elif isinstance(stage, MarketStage):
            _check_market(name, domain)
        elif isinstance(stage, SelectStage) and stage.selection.diversity is not None:
            unknown = [label for label in stage.selection.diversity.label_quota if label not in domain.codes]
            if unknown:
                raise UserError(
                    f"stage '{name}': label_quota names '{unknown[0]}', which is no label of domain '{domain.name}': "
                    f"{', '.join(domain.codes)}"
                )


def _check_market(name: str, domain: Domain) -> None:
    own = load_domain(MARKET_DOMAIN)
    for what, needed, found in (("steps", own.step_keys, domain.step_keys), ("labels", own.codes, domain.codes)):
        if set(needed) != set(found):
            raise UserError(
                f"stage '{name}': the market writes the {what} of '{MARKET_DOMAIN}' ({', '.join(needed)}), but domain "
                f"'{domain.name}' has {', '.join(found)}; use `domain: {MARKET_DOMAIN}` or a stage of kind `pairs`"
            )
