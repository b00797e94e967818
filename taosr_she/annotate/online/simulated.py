"""Simulated people who take part in a training. They take items from the pool and answer them as the page does.

What they do before an update follows from the seed, the pool and the items that they held before. Doing it again, after
a kill, changes nothing: an answer with the same key counts once, and who holds items gets the same ones again.
"""

import hashlib
from collections.abc import Mapping
from random import Random

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, digest_of, load_items
from taosr_she.annotate.online.config import SimulatedPeople
from taosr_she.annotate.online.record import Held
from taosr_she.annotate.pool import hand_out
from taosr_she.annotate.wire import Answer
from taosr_she.data.market.annotators import Person, verdicts_of
from taosr_she.data.market.teacher import Case
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response, Step

FOREVER = 1e9
"""Seconds of a lease: time passes in updates, not on the clock."""


class Simulated:
    """The market's annotators at a desk."""

    def __init__(
        self, config: SimulatedPeople, desk: Desk, domain: Domain, cases: Mapping[str, Case], seed: int
    ) -> None:
        self.config, self.desk, self.domain, self.cases, self.seed = config, desk, domain, cases, seed

    def act(self, update: int, held: Held) -> Held:
        """Answer what is due before this update and take new items; `held` is what was returned the last time."""
        now: Held = {}
        first = update % len(self.config.people)  # they take turns in coming first
        for person in (*self.config.people[first:], *self.config.people[:first]):
            mine = {int(number): since for number, since in held.get(person.name, {}).items()}
            items = self.desk.read(lambda connection, mine=mine: load_items(self.desk, connection, mine))  # type: ignore[misc]
            for number, item in items.items():
                if update - mine[number] >= self._delay(person, item):
                    self._answer(person, number, item)
            given = hand_out(self.desk, person.name, self.config.at_once, lease=FOREVER)
            now[person.name] = {str(number): mine.get(number, update) for number in given}
        return now

    def _delay(self, person: Person, item: Item) -> int:
        return Random(f"delay {self.seed} {person.name} {digest_of(item)}").randint(*self.config.delay)

    def _answer(self, person: Person, number: int, item: Item) -> None:
        """Judge the asked steps, or leave the item if the person does not cover its pair."""
        shown = [Step(key, text, 0, 0) if text is not None else None for key, text in self._texts(item)]
        response = Response("", tuple(shown), None, None)
        responses = [(item.pair.pair_id, item.response_id, response)]
        said = {a.step: a for a in verdicts_of([person], self.cases, responses, self.domain, self.seed)}
        if said:
            answers = [
                Answer(
                    kind="judge", key=self._key(person, item, step), item=number, step=step,
                    verdict=said[step].verdict, conclusion=said[step].correction,
                )
                for step in item.asked
            ]  # fmt: skip
        else:
            answers = [Answer(kind="leave", key=self._key(person, item, ""), item=number)]
        saved = take_in(self.desk, self.domain, person.name, answers, FOREVER)
        assert not saved.refused, saved.refused

    def _texts(self, item: Item) -> list[tuple[str, str | None]]:
        return list(zip(self.domain.step_keys, item.steps, strict=True))

    def _key(self, person: Person, item: Item, step: str) -> str:
        parts = f"{self.seed} {len(person.name)} {person.name} {digest_of(item)} {step}"
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
