"""People beside a running training: the examiner's human side, which grows by what they say.

Before each update the store is read, without waiting for anybody; what is new becomes part of the record, then counts.
After it, the policies choose what to ask about its rollouts. What happened before a kill is taken from the record.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taosr_she.annotate.online.config import OnlineConfig
from taosr_she.annotate.online.ledger import Ledger
from taosr_she.annotate.online.questions import choose_questions
from taosr_she.annotate.online.record import RECORD, Asked, Heard, Held, Record, Said, news, take
from taosr_she.annotate.online.said import with_references
from taosr_she.annotate.pool import offer, withdraw
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import Verdicts
from taosr_she.examine.verifier import Verifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from taosr_she.annotate.desk import Desk
    from taosr_she.annotate.online.simulated import Simulated
    from taosr_she.train.rl.batch import CreditedBatch


class Online:
    """An `Examiner`, the human side of a hybrid; and the `Listener` of the training whose rollouts it asks about.

    >>> online = Online(config, domain, pairs, annotations, folder, seed, desk)               # doctest: +SKIP
    >>> train_step_credit(..., examiner=Hybrid(online, gsrm), listener=online)               # doctest: +SKIP
    """

    def __init__(
        self,
        config: OnlineConfig,
        domain: Domain,
        pairs: Sequence[Pair],
        known: Sequence[Annotation],
        folder: Path,
        seed: int,
        desk: "Desk | None" = None,
        people: "Simulated | None" = None,
        never: Collection[str] = (),
    ) -> None:
        """`known` is what people said before the training about its `pairs`. Nobody is asked about those in `never`,
        which monitor the GSRM. Without a desk, `config.replay` says what is heard. UserError for a damaged record."""
        self.config, self.domain, self.seed, self.desk, self.people = config, domain, seed, desk, people
        self._pairs = {pair.pair_id: pair for pair in pairs}
        self._never = frozenset(never)
        self._record = Record(folder / RECORD, self._pairs)
        self._replay = Record(Path(config.replay), self._pairs, writing=False) if config.replay is not None else None
        self._known: dict[str, list[Annotation]] = {}
        for annotation in known:
            self._known.setdefault(annotation.pair_id, []).append(annotation)
        self._verifier = Verifier(domain, known)
        self._ledger = Ledger(domain)
        self._said: Said = {}
        self._held: Held = {}
        self._mark: tuple[int, int] | None = None  # of the store when it was last read
        self._row: dict[str, Any] = {}

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) by people: those from before the training, and those heard so far."""
        return self._verifier.examine(pairs, responses)

    def resume(self, finished: int) -> None:
        """Go on after this number of updates; what the record has of later ones happens again."""
        record = self._record
        if record.ended < finished:
            raise UserError(
                f"{record.path}: damaged: it ends after update {record.ended} of {finished}; run the stage anew with "
                f"--redo {record.path.parent.name}"
            )
        last = record.asked(record.ended) if record.ended else None
        if last is not None:
            self._put(last)  # a kill may have come between record and store
        for update in range(1, finished + 1):
            self.before(update)
            self._after(update)

    def before(self, update: int) -> None:
        """Hear what people have said since the last update."""
        heard = self._record.heard(update)
        if heard is None:
            heard = self._listen(update)
            self._record.write_heard(heard)
        self._held = heard.held
        self._row = dict(self._ledger.answer(update, heard.said))
        changed = take(self._said, heard)
        if changed:
            said = [a for a in self._said.values() if a.pair_id in changed]
            before = [a for pair_id in sorted(changed) for a in self._known.get(pair_id, ())]
            self._verifier.renew(changed, before + with_references(self.domain, said))

    def after(self, update: int, batch: "CreditedBatch") -> dict[str, Any]:
        """Ask about the update's rollouts, and withdraw what has become too old. Returns the metrics."""
        if self._record.asked(update) is None:
            asked = self._ask(update, batch)
            self._record.write_asked(asked)
            self._put(asked)
        self._after(update)
        return {f"online_{name}": value for name, value in self._row.items()}

    def finish(self) -> None:
        """The training has ended: nobody new is asked what is still open. Close the record and the store."""
        if self.desk is not None:
            withdraw(self.desk, self._ledger.open_items)
        self.close()

    def close(self) -> None:
        """Close the record and the store."""
        self._record.close()
        if self.desk is not None:
            self.desk.close()

    def _listen(self, update: int) -> Heard:
        if self._replay is not None:
            return self._replay.heard(update) or Heard()
        assert self.desk is not None
        held = self.people.act(update, self._held) if self.people else {}
        mark = self.desk.store.latest(), self.desk.read(self._history)
        if mark == self._mark:
            return Heard(held=held)
        self._mark = mark
        heard = news(self._said, self.desk.store.of_pairs([p for p in self._pairs if p not in self._never]))
        return Heard(heard.said, heard.gone, held)

    def _history(self, connection: "Connection") -> int:
        """The number of answers ever given: an undo leaves no record, but is one of them."""
        from sqlalchemy import func, select

        assert self.desk is not None
        return connection.execute(select(func.count()).select_from(self.desk.tables.answers)).scalar_one()

    def _ask(self, update: int, batch: "CreditedBatch") -> Asked:
        if self._replay is not None:
            return self._replay.asked(update) or Asked()
        room = min(self.config.each_update, self.config.open - self._ledger.open)
        if self.config.budget is not None:
            room = min(room, self.config.budget - self._ledger.spent)
        items = choose_questions(
            self.domain, batch.pairs, batch.responses, batch.verdicts, self._ledger, self.config, room,
            self.seed * 1_000_003 + update, self._never,
        )  # fmt: skip
        return Asked(tuple(items), self._ledger.old(update, self.config.max_age))

    def _after(self, update: int) -> None:
        asked = self._record.asked(update)
        assert asked is not None  # just written, or checked by `resume`
        withdrawn = self._ledger.withdraw(asked.withdrawn)
        self._ledger.ask(update, asked.items)
        number = sum(len(item.asked) for item in asked.items)
        self._row |= {"asked": number, "withdrawn": withdrawn, "open": self._ledger.open}

    def _put(self, asked: Asked) -> None:
        if self.desk is not None:
            if asked.withdrawn:
                withdraw(self.desk, asked.withdrawn)
            if asked.items:
                offer(self.desk, asked.items)
