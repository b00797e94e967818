"""What a model says to many pairs, kept in parts while it is written, so that a killed stage asks nothing twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taosr_she.base.files import read_object, write_json
from taosr_she.domain.pair import Pair
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import SAMPLE_ROWS

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy
    from taosr_she.model.responses import Sampled

PART = 256
"""Pairs in a part of responses: with eight of a small model to each, some minutes on two CPU cores."""
FOLDER = "responses"
"""Folder of the parts in that of a stage."""


def in_parts(
    folder: Path, pairs: Sequence[Pair], size: int, ask: Callable[[Sequence[Pair], int], dict[str, Any]]
) -> Iterator[tuple[Sequence[Pair], dict[str, Any]]]:
    """Each part of the pairs, with what `ask(part, number)` says of it.

    Parts that are in `folder` are read, not asked again: the folder belongs to one stage with one fingerprint. A part
    that is damaged or of other pairs is asked again.
    """
    for number, start in enumerate(range(0, len(pairs), size)):
        part, path = pairs[start : start + size], folder / f"part-{number:05d}.json"
        ids, said = [pair.pair_id for pair in part], read_object(path)
        if said.get("pairs") != ids:
            said = {"pairs": ids, **ask(part, number)}
            write_json(path, said)
        yield part, said


def kept_responses(
    context: Context,
    policy: "Policy",
    pairs: Sequence[Pair],
    group_size: int,
    sampling: Sampling,
    seed: int,
    name: str = "training",
) -> "Sampled":
    """`group_size` responses to each of P pairs, kept in the stage's folder under `name`: B = P x group_size.

    The random numbers of a pair depend on its place among all pairs alone, so parts, and a killed stage, end with the
    responses that `sample_responses` gives in one piece.
    """
    from taosr_she.domain.response import parse_response
    from taosr_she.model import responses

    def ask(part: Sequence[Pair], number: int) -> dict[str, Any]:
        place = {pair.pair_id: n for n, pair in enumerate(part)}
        numbers = range(number * PART, number * PART + len(part))
        sampled = responses.sample_responses(
            policy, context.domain, part, group_size, sampling, seed, SAMPLE_ROWS, numbers
        )
        rows = zip(*sampled, strict=True)
        return {"rows": [[place[pair.pair_id], said.text, said.reason, tokens] for pair, said, tokens in rows]}

    found = responses.Sampled([], [], [])
    update = context.progress.stage(f"{context.name}: responses", len(pairs))
    done = 0
    for part, said in in_parts(context.folder / FOLDER / name, pairs, PART, ask):
        for place, text, reason, tokens in said["rows"]:
            found.pairs.append(part[place])
            # The reason is kept because a text does not tell whether the length limit cut it.
            found.responses.append(replace(parse_response(context.domain, text), reason=reason))
            found.tokens.append(tokens)
        done += len(part)
        update(done, f"{sum(found.tokens)} tokens")
    return found
