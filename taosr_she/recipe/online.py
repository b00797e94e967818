"""Online verification of a training stage: its store, its people, and what a later GSRM learns from their answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from taosr_she.annotate.online.config import OnlineConfig
from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder

if TYPE_CHECKING:
    from taosr_she.annotate.desk import Desk
    from taosr_she.annotate.online.online import Online
    from taosr_she.annotate.online.simulated import Simulated


def people_online(context: Context, how: OnlineConfig, data: DataFolder, pairs: Sequence[Pair]) -> "Online":
    """Open the store and the record. UserError for a store or a record that cannot be used."""
    from taosr_she.annotate.desk import Desk
    from taosr_she.annotate.online.online import Online
    from taosr_she.annotate.online.record import RECORD

    if how.replay is not None and not Path(how.replay).is_file():
        raise UserError(f"stage '{context.name}': online.replay: {how.replay}: no such file")
    desk = None
    if how.replay is None:
        own = context.recipe.folder / f"online-{context.name}.db"
        if how.people is not None and how.store is None and not (context.folder / RECORD).exists():
            for file in (own, own.with_name(f"{own.name}-wal"), own.with_name(f"{own.name}-shm")):
                file.unlink(missing_ok=True)  # simulated people know nothing of an earlier training
        desk = Desk(how.store or own)
        desk.use_domain(context.domain)
    return Online(
        how, context.domain, pairs, data.annotations(), context.folder, context.recipe.seed, desk,
        _simulated(context, how, data, desk) if desk is not None and how.people is not None else None,
        {a.pair_id for a in data.probe()},
    )  # fmt: skip


def _simulated(context: Context, how: OnlineConfig, data: DataFolder, desk: "Desk") -> "Simulated":
    from taosr_she.annotate.online.simulated import Simulated
    from taosr_she.data.market.market import generate_market
    from taosr_she.recipe.stages.market import MarketStage  # whose folder imports this file

    stage = context.recipe.stages[data.folder.name]
    assert isinstance(stage, MarketStage) and how.people is not None  # checked with the recipe
    cases = generate_market(stage.market, context.recipe.seed).cases
    return Simulated(how.people, desk, context.domain, cases, context.recipe.seed)


def answers_of(context: Context, stages: Sequence[str]) -> list[Annotation]:
    """What people said during these earlier `rl` stages, with the references that it contains."""
    from taosr_she.annotate.online.record import RECORD, said_in
    from taosr_she.annotate.online.said import with_references

    records = [record for name in stages for record in said_in(context.stages / name / RECORD)]
    return with_references(context.domain, dict.fromkeys(records))
