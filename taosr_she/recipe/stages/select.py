"""Choose the training pairs that are worth training on."""

from typing import Any, ClassVar, Literal

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.domain.domain import Domain
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import Stage
from taosr_she.select.config import SelectionConfig


class SelectStage(Stage):
    """Choose the training pairs that are worth training on, by the rollouts of a policy and by their texts."""

    kind: Literal["select"]
    """Name of the kind."""
    offers: ClassVar[str] = "select"
    start: str = "sft"
    """Name of the stage whose checkpoint measures the difficulty of a pair."""
    data: str = "data"
    """Name of the data stage."""
    pairs: str | None = None
    """Name of an earlier select stage, to choose among the pairs that it chose: diversity costs no tokens, so it may go
    first and difficulty be measured on what it leaves. Unset: among the whole training split."""
    selection: SelectionConfig = SelectionConfig()
    """Every threshold."""

    def reads(self) -> list[tuple[str, str]]:
        among = [("select", self.pairs)] if self.pairs else []
        return [("data", self.data), ("checkpoint", self.start), *among]

    def check(self, name: str, domain: Domain) -> None:
        if self.selection.diversity is None:
            return
        unknown = [label for label in self.selection.diversity.label_quota if label not in domain.codes]
        if unknown:
            raise UserError(
                f"stage '{name}': label_quota names '{unknown[0]}', which is no label of domain '{domain.name}': "
                f"{', '.join(domain.codes)}"
            )

    def run(self, context: Context) -> dict[str, Any]:
        """Sample the start policy on the pairs, then choose; rollouts and report stay in the stage's folder."""
        from taosr_she.select.pipeline import select_pairs
        from taosr_she.select.report import SELECTED, write_selection
        from taosr_she.select.rollouts import malformed_reasons, sample_rollouts

        data, domain, config = context.data(self.data), context.domain, self.selection
        pairs = read_pairs(context.stages / self.pairs / SELECTED) if self.pairs else data.pairs("training")
        rollouts = None
        if config.difficulty is not None:
            policy = context.policy(self.start, "auto")
            update = context.progress.stage(context.name, -(-len(pairs) // config.difficulty.part_pairs))
            rollouts = sample_rollouts(
                policy, domain, pairs, Verifier(domain, data.annotations()), config.difficulty,
                context.recipe.seed, context.folder / "rollouts", lambda done, parts: update(done, "parts sampled"),
            )  # fmt: skip
            context.tell_malformed(malformed_reasons(rollouts), self.start)
        selection = select_pairs(pairs, rollouts, config)
        if not selection.kept:
            raise UserError(
                f"stage '{context.name}': no pair is left: widen the band of pass rates (selection.difficulty)"
            )
        report = write_selection(context.folder, pairs, selection, domain.step_keys)
        tokens = sum(r.tokens for r in rollouts.values()) if rollouts else 0
        return {"pairs": len(pairs), "kept": report["kept"], "tokens": tokens, "dropped": report["dropped"]}
