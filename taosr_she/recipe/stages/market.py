"""Data from the market."""

from typing import Any

from taosr_she.data.market.market import generate_market
from taosr_she.recipe.context import Context, DataFolder
from taosr_she.recipe.kinds import MarketStage


def run(context: Context, stage: MarketStage) -> dict[str, Any]:
    """Generate the market and write it. The truth of the test pairs is exact; annotations have the stated errors."""
    market = generate_market(stage.market, context.recipe.seed)
    truth = market.truth("development") + market.truth("test")
    return DataFolder(context.folder).write(
        market.pairs, market.demonstrations, market.annotations, market.held_out, truth, stage.probe_share,
        context.recipe.seed,
    )  # fmt: skip
