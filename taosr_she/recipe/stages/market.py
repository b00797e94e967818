"""Data from the market."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.stage import Stage

MARKET_DOMAIN = "taobao"
"""Whose steps and labels the market writes."""


class MarketStage(Stage):
    """Data from the market: no file, no download."""

    kind: Literal["market"]
    """Name of the kind."""
    offers: ClassVar[str] = "data"
    market: MarketConfig = MarketConfig()
    """What the market holds."""
    probe_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the annotated training pairs held out from verifier and GSRM, to monitor the GSRM during training."""

    def check(self, name: str, domain: Domain) -> None:
        own = load_domain(MARKET_DOMAIN)
        for what, needed, found in (("steps", own.step_keys, domain.step_keys), ("labels", own.codes, domain.codes)):
            if set(needed) != set(found):
                raise UserError(
                    f"stage '{name}': the market writes the {what} of '{MARKET_DOMAIN}' ({', '.join(needed)}), but "
                    f"domain '{domain.name}' has {', '.join(found)}; use `domain: {MARKET_DOMAIN}` or a stage of kind "
                    "`pairs`"
                )

    def run(self, context: Context) -> dict[str, Any]:
        """Generate the market and write it. The truth of the test pairs is exact; annotations have stated errors."""
        market = generate_market(self.market, context.recipe.seed)
        truth = market.truth("development") + market.truth("test")
        return DataFolder(context.folder).write(
            market.pairs, market.demonstrations, market.annotations, market.held_out, truth, self.probe_share,
            context.recipe.seed,
        )  # fmt: skip
