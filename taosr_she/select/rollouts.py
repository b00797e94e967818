"""Rollouts of a named policy on many pairs, kept as Parquet parts: sampled once, read by every threshold.

Pairs are sampled in the order of their prompts' lengths, so a batch needs little padding. A part is written completely
or not at all. A killed run continues after the last part and ends with the same rollouts, because a part's seed depends
only on its number.
Sampling is expensive, examination is not: kept rollouts are examined again each time, because there may be new
annotations.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from taosr_she.base.errors import UserError
from taosr_she.base.files import replacing, write_json
from taosr_she.data.fingerprint import fingerprint_config, fingerprint_pairs
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.examine.verdicts import Examiner, outcomes
from taosr_she.model.policy import Policy
from taosr_she.model.responses import sample_responses
from taosr_she.select.config import DifficultyConfig

log = logging.getLogger(__name__)
Row = dict[str, Any]
"""One rollout as the parts hold it: `pair_id`, `response`, `malformed` (reason or None), `tokens`, `outcome`,
`conclusions` (K) and `verdicts` (K, None unknown)."""


@dataclass(frozen=True)
class PairRollouts:
    """N rollouts of one pair."""

    outcomes: tuple[float, ...]  # N: 1 well formed with the right label, else 0
    verdicts: tuple[tuple[float, ...], ...]  # N x K in [0, 1], NaN unknown
    conclusions: tuple[tuple[str, ...], ...]  # N x K canonical, "" where the section is missing
    tokens: int  # generated for all of them
    malformed: tuple[str | None, ...] = ()  # N: why, None where well formed


def sample_rollouts(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    config: DifficultyConfig,
    seed: int,
    folder: Path,
    on_part: Callable[[int, int], None] = lambda done, parts: None,
) -> dict[str, PairRollouts]:
    """pair_id -> rollouts, for labelled pairs. Parts already in `folder` are read if policy, prompts, pairs, settings
    and seed are the same; otherwise it starts again. `on_part(done, parts)` is called after each part. Raises
    UserError for a pair without a label, which has no outcome."""
    unlabelled = next((p.pair_id for p in pairs if p.label is None), None)
    if unlabelled is not None:
        raise UserError(f"pair '{unlabelled}' has no label: difficulty is measured on labelled pairs")
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    _claim(folder, policy, domain, pairs, prompts, config, seed)
    order = sorted(range(len(pairs)), key=lambda i: (len(prompts[i]), i))
    parts = [order[i : i + config.part_pairs] for i in range(0, len(order), config.part_pairs)]
    found: dict[str, PairRollouts] = {}
    for number, part in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        own = [pairs[i] for i in part]
        kept = _read_whole(path, own, config) if path.is_file() else None
        if kept is None:
            kept = _sampled(policy, domain, own, config, Random(f"part {seed} {number}").getrandbits(62))
        rows = _examined(domain, own, kept, examiner)
        if rows != kept:
            _write(path, rows)
        found |= _by_pair(rows)
        on_part(number + 1, len(parts))
    return {pair.pair_id: found[pair.pair_id] for pair in pairs}


def malformed_reasons(rollouts: Mapping[str, PairRollouts]) -> list[str | None]:
    """For every rollout, the reason why it is malformed; None if it is well formed."""
    return [reason for of_pair in rollouts.values() for reason in of_pair.malformed]


def read_part(path: Path) -> dict[str, PairRollouts]:
    """pair_id -> rollouts of one Parquet part."""
    return _by_pair(_read(path))


def _by_pair(rows: Sequence[Row]) -> dict[str, PairRollouts]:
    by_pair: dict[str, list[Row]] = {}
    for row in rows:
        by_pair.setdefault(row["pair_id"], []).append(row)
    return {
        pair_id: PairRollouts(
            tuple(r["outcome"] for r in several),
            tuple(tuple(float("nan") if v is None else v for v in r["verdicts"]) for r in several),
            tuple(tuple(r["conclusions"]) for r in several),
            sum(r["tokens"] for r in several),
            tuple(r["malformed"] for r in several),
        )
        for pair_id, several in by_pair.items()
    }


def conclusions(domain: Domain, response: Response) -> tuple[str, ...]:
    """K canonical conclusions; "" where the section is missing."""
    steps = zip(domain.steps, response.steps, strict=True)
    return tuple(canonical(domain, spec, step.text) if step else "" for spec, step in steps)


def _sampled(policy: Policy, domain: Domain, pairs: list[Pair], config: DifficultyConfig, seed: int) -> list[Row]:
    """Rollouts of a part, not yet examined."""
    sampled = sample_responses(policy, domain, pairs, config.rollouts, config.sampling, seed, config.rows)
    right = outcomes(sampled.pairs, sampled.responses)
    return [
        {
            "pair_id": pair.pair_id,
            "response": response.text,
            "malformed": response.reason,
            "tokens": tokens,
            "outcome": float(outcome),
            "conclusions": list(conclusions(domain, response)),
        }
        for pair, response, tokens, outcome in zip(*sampled, right, strict=True)
    ]


def _examined(domain: Domain, pairs: Sequence[Pair], rows: Sequence[Row], examiner: Examiner) -> list[Row]:
    by_id = {pair.pair_id: pair for pair in pairs}
    # The reason is kept because a text does not tell whether the length limit cut it.
    responses = [replace(parse_response(domain, row["response"]), reason=row["malformed"]) for row in rows]
    verdicts = examiner.examine([by_id[row["pair_id"]] for row in rows], responses).values
    return [row | {"verdicts": [None if np.isnan(v) else float(v) for v in verdicts[b]]} for b, row in enumerate(rows)]


def _read_whole(path: Path, pairs: Sequence[Pair], config: DifficultyConfig) -> list[Row] | None:
    """The rows of a part of these pairs; None for one that is damaged, which is sampled again."""
    try:
        rows = _read(path)
        found = [(row["pair_id"], row["response"], row["malformed"], row["tokens"], row["conclusions"]) for row in rows]
    except (OSError, ValueError, KeyError) as error:  # pyarrow has one for each kind of damage
        log.warning("%s is damaged (%s) and sampled again", path, type(error).__name__)
        return None
    wanted = [pair.pair_id for pair in pairs for _ in range(config.rollouts)]
    return rows if sorted(pair_id for pair_id, *_ in found) == sorted(wanted) else None


def _read(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def _write(path: Path, rows: list[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as part:
        pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")


def _claim(
    folder: Path,
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    prompts: Sequence[list[int]],
    config: DifficultyConfig,
    seed: int,
) -> None:
    """Make sure that the folder has only parts of this sampling."""
    told = {
        "policy": fingerprint_policy(policy),
        "domain": fingerprint_config(domain.computed()),
        "pairs": fingerprint_pairs(pairs), "prompts": fingerprint_config(prompts),
        "rollouts": config.rollouts, "part_pairs": config.part_pairs, "seed": seed,
        "sampling": config.sampling.model_dump(mode="json"),
    }  # fmt: skip
    record = folder / "rollouts.json"
    try:
        if json.loads(record.read_text("utf-8")) == told:
            return
    except (FileNotFoundError, ValueError):
        pass  # none yet, or a damaged one: the parts are unknown
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("part-*"):
        stale.unlink()
    write_json(record, told)


def fingerprint_policy(policy: Policy) -> str:
    """16 hex digits for the weights, bit by bit: other precision, other rollouts."""
    digest = hashlib.sha256()
    for name, weight in policy.model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
