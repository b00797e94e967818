"""A judge for tests of bulk jobs that needs no model: what it answers depends on the pair alone."""

import json
from collections.abc import Sequence
from pathlib import Path

from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import parse_response, render_response
from taosr_she.judge.bulk.run import Order, begin, finish, judge_missing
from taosr_she.judge.judgement import Judgement, judgement

BATCH = 4
DOMAIN = load_domain("esci")


def write_rows(path: Path, numbers: Sequence[int]) -> None:
    rows = ({"query": f"boots {n // 3}", "title": "" if n % 10 == 9 else f"böots, {n}", "n": n} for n in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def answer(domain: Domain, pair: Pair) -> Judgement:
    """A judgement; that of every seventh pair is malformed, and one has probabilities that are no numbers."""
    n = int(pair.extra["n"])
    code = domain.codes[n % len(domain.codes)]
    text = render_response(domain, dict.fromkeys(domain.step_keys, f"about {n}") | {"label": code})
    share = float("nan") if n == 5 else 1 / (3 + n)
    rest = (1 - share) / (len(domain.codes) - 1)
    probabilities = {c: share if c == code else rest for c in domain.codes}
    return judgement(domain, pair.pair_id, parse_response(domain, "?" if n % 7 == 6 else text), probabilities, 9)


def run(order: Order, asked: Path | None = None) -> bool:
    """Begin or resume, judge, finish. The numbers of the pairs that were judged are appended to the file `asked`."""

    def judge(pairs: Sequence[Pair]) -> list[Judgement]:
        if asked is not None:
            with asked.open("a") as file:
                file.writelines(f"{pair.extra['n']}\n" for pair in pairs)
        return [answer(order.domain, pair) for pair in pairs]

    begun = begin(order)
    if begun is None:
        return False
    judge_missing(begun, order.domain, judge)
    finish(order, begun)
    return True
