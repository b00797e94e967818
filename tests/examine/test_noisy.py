from collections.abc import Sequence

import numpy as np

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import Response, parse_response, render_response
from taosr_she.examine.noisy import Noisy
from taosr_she.examine.verdicts import CODE, Verdicts

DOMAIN = load_domain("taobao")


class Sure:
    """Every step is right to 0.9, but for the product step, which nobody knows."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.full((len(responses), 5), 0.9, dtype=np.float32)
        values[:, 1] = np.nan
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


def batch(n: int) -> tuple[list[Pair], list[Response]]:
    pairs = [Pair(f"p{i}", "q", "red boots", Product("red boots")) for i in range(n)]
    steps = {"query": "color: red", "product": "color: red", "category": "same", "attributes": "", "label": "4"}
    return pairs, [parse_response(DOMAIN, render_response(DOMAIN, steps)) for _ in pairs]


def test_known_verdicts_of_reasoning_steps_turn_at_the_stated_rate() -> None:
    pairs, responses = batch(2000)
    found = Noisy(Sure(), DOMAIN, 0.2, 1).examine(pairs, responses)
    assert np.isnan(found.values[:, 1]).all() and (found.values[:, 4] == np.float32(0.9)).all()
    turned = found.values[:, [0, 2, 3]] < 0.5
    assert np.allclose(found.values[:, [0, 2, 3]][turned], 0.1)
    assert 0.17 < turned.mean() < 0.23
    assert abs(np.corrcoef(turned[:, 0], turned[:, 1])[0, 1]) < 0.1  # steps turn independently
    assert (found.sources == CODE["gsrm"]).all()


def test_the_same_text_turns_the_same_way_and_another_seed_turns_others() -> None:
    pairs, responses = batch(50)
    first = Noisy(Sure(), DOMAIN, 0.5, 1).examine(pairs, responses).values
    again = Noisy(Sure(), DOMAIN, 0.5, 1).examine(pairs[::-1], responses[::-1]).values[::-1]
    other = Noisy(Sure(), DOMAIN, 0.5, 2).examine(pairs, responses).values
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)


def test_no_rate_turns_nothing_and_a_rate_of_one_everything() -> None:
    pairs, responses = batch(20)
    assert (Noisy(Sure(), DOMAIN, 0.0, 1).examine(pairs, responses).values[:, 0] == np.float32(0.9)).all()
    assert np.allclose(Noisy(Sure(), DOMAIN, 1.0, 1).examine(pairs, responses).values[:, 0], 0.1)
