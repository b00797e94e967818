"""A training without a policy: rollouts of the market's people, a reward model that tosses coins, people who answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.online.config import OnlineConfig, SimulatedPeople
from taosr_she.annotate.online.online import Online
from taosr_she.annotate.online.simulated import Simulated
from taosr_she.data.market.annotators import Person
from taosr_she.data.market.market import Market, MarketConfig, generate_market
from taosr_she.data.market.teacher import BLIND_SPOTS, flawed_reasoning
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import parse_response, render_response
from taosr_she.examine.hybrid import Hybrid
from taosr_she.examine.verdicts import CODE, Verdicts

PEOPLE = SimulatedPeople(
    people=(Person(name="ann", error_rate=0.1), Person(name="bob", coverage=0.6, error_rate=0.0)),
    delay=(1, 3),
    at_once=2,
)
UPDATES, PER_UPDATE = 12, 3


class Coins:
    """A reward model whose verdicts are random, but always the same ones for the same text."""

    def examine(self, pairs, responses) -> Verdicts:
        rows = [
            [Random(f"{p.pair_id} {s.key} {s.text}").random() for s in r.steps]
            for p, r in zip(pairs, responses, strict=True)
        ]
        values = np.array(rows, dtype=np.float32)
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


class Training:
    """Updates on four rollouts to each of three pairs, as a loop makes them."""

    def __init__(self, domain: Domain, market: Market, folder: Path, config: OnlineConfig, **more: Any) -> None:
        self.domain, self.market, self.pairs = domain, market, market.pairs["training"]
        self.desk = None
        people = None
        if config.replay is None:
            self.desk = Desk(folder / "online.db")
            self.desk.use_domain(domain)
            if config.people is not None:
                people = Simulated(config.people, self.desk, domain, market.cases, 5)
        more = {"known": [], "never": ()} | more
        self.online = Online(config, domain, self.pairs, more["known"], folder, 5, self.desk, people, more["never"])
        self.examiner = Hybrid(self.online, Coins())

    def rollouts(self, update: int) -> tuple[list[Pair], list]:
        rng = Random(f"rollouts {update}")
        pairs = [pair for pair in rng.sample(self.pairs, PER_UPDATE) for _ in range(4)]
        texts = []
        for pair in pairs:
            case = self.market.cases[pair.pair_id]
            flaws = tuple(rng.sample([s for s in BLIND_SPOTS if s != "sub_brand"], 2))
            texts.append(render_response(self.domain, flawed_reasoning(case, flaws).steps))
        return pairs, [parse_response(self.domain, text) for text in texts]

    def update(self, number: int) -> tuple[dict[str, Any], list]:
        """The row of metrics, and the verdicts that credit would see."""
        self.online.before(number)
        pairs, responses = self.rollouts(number)
        verdicts = self.examiner.examine(pairs, responses)
        row = self.online.after(number, SimpleNamespace(pairs=pairs, responses=responses, verdicts=verdicts))
        return row, verdicts.values.tolist()


@pytest.fixture(scope="session")
def market() -> Market:
    config = MarketConfig(demonstration_pairs=0, training_pairs=16, development_pairs=2, test_pairs=0)
    return generate_market(config, 3)


@pytest.fixture
def training(domain: Domain, market: Market) -> Iterator[Callable[..., Any]]:
    """`with training(folder, each_update=4) as t:` is a training whose store is closed at the end."""

    @contextmanager
    def opened(folder: Path, more: dict[str, Any] | None = None, **config: Any) -> Iterator[Training]:
        begun = Training(domain, market, folder, OnlineConfig(**config), **(more or {}))
        yield begun
        begun.online.close()

    return opened
