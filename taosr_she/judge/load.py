"""The Python interface: loads a model as a function from pairs to judgements."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from taosr_she.data.columns import LAYOUTS
from taosr_she.data.rows import BadRow, pair_from_row, row_from_pair
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.judge.decision import WRITTEN, Decision, saved_decision
from taosr_she.judge.judgement import Judgement, refusal
from taosr_she.judge.mode import Mode, check_mode
from taosr_she.judge.pairs import Written, judge_in_parts
from taosr_she.model.domain_file import choose_domain
from taosr_she.model.policy import Policy, load_policy
from taosr_she.model.sampling import Sampling

log = logging.getLogger(__name__)

PairLike = Pair | Mapping[str, Any]
"""A pair, or a row with the columns of the `plain` layout (docs/data.md): `query`, `title`, and where known
`description`, `brand`, `category`, `price`, `attributes`, `locale`, `pair_id`. Other columns are not read."""

_PLAIN = LAYOUTS["plain"]
_READ = (_PLAIN.consumed() | {"product_id"}) - {"label", "tags"}  # a judge needs neither


@dataclass(frozen=True)
class Judge:
    """A loaded model that judges pairs. `load_judge` makes one."""

    policy: Policy
    domain: Domain
    sampling: Sampling
    seed: int = 0  # used if `sampling` has a temperature
    decision: Decision = WRITTEN  # how the label is derived from text and probabilities
    mode: Mode = "reason"  # `label`: the label distribution alone, without a response

    @overload
    def __call__(
        self, pairs: PairLike, progress: Callable[[int], None] | None = None, written: Written | None = None
    ) -> Judgement: ...
    @overload
    def __call__(
        self, pairs: Iterable[PairLike], progress: Callable[[int], None] | None = None, written: Written | None = None
    ) -> list[Judgement]: ...
    def __call__(
        self,
        pairs: PairLike | Iterable[PairLike],
        progress: Callable[[int], None] | None = None,
        written: Written | None = None,
    ) -> Judgement | list[Judgement]:
        """The judgement of one pair, or the judgements of several in their order.

        A pair that cannot be judged (no title, an attribute that is not text, too long for the model, ...) gets a
        judgement with a reason and no label; the others are judged. Human labels in pairs or rows are ignored.
        `progress` is called after every part with the number of pairs judged so far, `written` with the number of a
        pair and the next piece of its response while the model writes.
        Probabilities may differ in rounding, depending on the other pairs of the same part.

        Raises TypeError for anything that is neither Pair nor dict, and UserError for a problem with the model.
        """
        if isinstance(pairs, Pair | Mapping):
            return self([pairs], progress, written)[0]
        judgements: list[Judgement] = []
        for part in self.in_parts(pairs, written):
            judgements += part
            if progress is not None:
                progress(len(judgements))
        return judgements

    def in_parts(self, pairs: Iterable[PairLike], written: Written | None = None) -> Iterator[list[Judgement]]:
        """The same, part by part, for more pairs than fit in memory. Pairs are read as they are needed."""
        if isinstance(pairs, str | bytes):
            raise TypeError("pairs are Pair objects or dicts with `query` and `title`, not text")
        read = map(self._read, pairs)
        return judge_in_parts(
            self.policy, self.domain, read, self.sampling, self.seed, self.decision, self.mode, written
        )

    def _read(self, row: PairLike) -> Pair | Judgement:
        """The pair, or the judgement of an invalid row. A Pair is checked in the same way as a row."""
        if not isinstance(row, Pair | Mapping):
            raise TypeError(
                f"{str(row)[:40]!r} is neither a Pair nor a dict with `query` and `title`; for a pandas DataFrame pass "
                'frame.to_dict("records")'
            )
        cells = row_from_pair(row) if isinstance(row, Pair) else row
        try:
            read = pair_from_row({column: cells[column] for column in _READ if column in cells}, _PLAIN)
        except BadRow as bad:
            pair_id = cells.get("pair_id")
            return refusal(self.domain, str(pair_id) if isinstance(pair_id, str | int) else "", str(bad))
        if read.bad_price:
            log.warning("price %r cannot be read: the pair is judged without it", cells["price"])
        return replace(read.pair, pair_id=row.pair_id) if isinstance(row, Pair) else read.pair


def load_judge(
    model: str | Path,
    device: str = "auto",
    dtype: str = "auto",
    domain: str | Path | Domain | None = None,
    force_domain: bool = False,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    decision: Decision | None = None,
    mode: Mode = "reason",
) -> Judge:
    """A judge from a model folder, or by name: one of ours (docs/models.md), or a name on the Hugging Face hub.

    `device` is `auto` (a GPU if there is one), `cpu`, `cuda`, ...; `dtype` is `auto` (bfloat16 on a GPU, and for larger
    models on a CPU that multiplies it; else float32), `float32` or `bfloat16`. By default, the domain is the
    model's own (`domain.yaml` in its folder). `domain` is another one, as a name, a YAML file or a `Domain`; if it
    differs from the model's own, `force_domain` is needed. Responses are greedy and at most `max_new_tokens` long. With
    a `temperature` they are sampled, reproducibly for the same `seed`.

    Labels follow the model's own decision rule (`decision.json` in its folder, written by an evaluation with
    `decision:`), which may also ask for several chains of reasoning (`judge.chains`). Without the file, they are taken
    as written. `decision` is another rule; `Decision()` always takes them as written, from one response.

    In `mode="label"` the model writes nothing: the label distribution is read in one short pass, many times faster, and
    the steps are None. It needs a model whose domain has the label step first, or alone (docs/label-mode.md).

        judge = load_judge("runs/demo/stages/srpo/checkpoint")
        one = judge({"query": "red boots", "title": "Norvik trail boots, red"})
        print(one.label, one.expected_grade, one.steps)

    Raises UserError if there is no such model, if it cannot be used, if its domain is unknown, or if it does not suit
    the mode.
    """
    chosen = choose_domain(domain, model, force_domain)
    check_mode(chosen, mode)
    policy = load_policy(model, device, dtype)
    rule = saved_decision(model, chosen) if decision is None else decision
    return Judge(policy, chosen, Sampling(max_new_tokens=max_new_tokens, temperature=temperature), seed, rule, mode)
