"""Rollouts of a named policy on many pairs, kept as Parquet parts: sampled once, read by every threshold.

Pairs are sampled in order of their prompts' length, so that a batch pads little. A part is written whole or not at all;
a killed run goes on behind the last one and ends with the same rollouts, because a part's seed follows from its number.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from taosr_she.data.fingerprint import fingerprint_config, fingerprint_pairs
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.errors import UserError
from taosr_she.examine.verdicts import Examiner, outcomes
from taosr_she.model.policy import Policy
from taosr_she.model.responses import sample_responses
from taosr_she.select.config import DifficultyConfig


@dataclass(frozen=True)
class PairRollouts:
    """N rollouts of one pair."""

    outcomes: tuple[float, ...]  # N: 1 well formed with the right label, else 0
    verdicts: tuple[tuple[float, ...], ...]  # N x K in [0, 1], NaN unknown
    conclusions: tuple[tuple[str, ...], ...]  # N x K canonical, "" where the section is missing
    tokens: int  # generated for all of them


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
    """pair_id -> rollouts, for labelled pairs. Parts already in `folder` are read when policy, pairs, settings and seed
    are the same; with others it starts anew. `on_part(done, parts)` is called after each part. Raises UserError for a
    pair without a label, which has no outcome."""
    unlabelled = next((p.pair_id for p in pairs if p.label is None), None)
    if unlabelled is not None:
        raise UserError(f"pair '{unlabelled}' has no label: difficulty is measured on labelled pairs")
    _claim(folder, policy, domain, pairs, config, seed)
    lengths = [len(policy.encode_prompt(domain, pair)) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda i: (lengths[i], i))
    parts = [order[i : i + config.part_pairs] for i in range(0, len(order), config.part_pairs)]
    found: dict[str, PairRollouts] = {}
    for number, part in enumerate(parts):
        path = folder / f"part-{number:05d}.parquet"
        if not path.is_file():
            part_seed = Random(f"part {seed} {number}").getrandbits(62)
            _write(path, policy, domain, [pairs[i] for i in part], examiner, config, part_seed)
        found |= read_part(path)
        on_part(number + 1, len(parts))
    return {pair.pair_id: found[pair.pair_id] for pair in pairs}


def read_part(path: Path) -> dict[str, PairRollouts]:
    """pair_id -> rollouts of one Parquet part."""
    import pyarrow.parquet as pq

    rows: dict[str, list[dict[str, object]]] = {}
    for row in pq.read_table(path).to_pylist():
        rows.setdefault(row["pair_id"], []).append(row)
    return {
        pair_id: PairRollouts(
            tuple(float(r["outcome"]) for r in several),  # type: ignore[arg-type]
            tuple(tuple(float("nan") if v is None else v for v in r["verdicts"]) for r in several),  # type: ignore[attr-defined]
            tuple(tuple(r["conclusions"]) for r in several),  # type: ignore[arg-type]
            sum(int(r["tokens"]) for r in several),  # type: ignore[call-overload]
        )
        for pair_id, several in rows.items()
    }


def conclusions(domain: Domain, response: Response) -> tuple[str, ...]:
    """K canonical conclusions; "" where the section is missing."""
    steps = zip(domain.steps, response.steps, strict=True)
    return tuple(canonical(domain, spec, step.text) if step else "" for spec, step in steps)


def _write(
    path: Path,
    policy: Policy,
    domain: Domain,
    pairs: list[Pair],
    examiner: Examiner,
    config: DifficultyConfig,
    seed: int,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sampled, responses, tokens = sample_responses(
        policy, domain, pairs, config.rollouts, config.sampling, seed, config.rows
    )
    right = outcomes(sampled, responses)
    verdicts = examiner.examine(sampled, responses).values
    rows = [
        {
            "pair_id": pair.pair_id,
            "response": response.text,
            "outcome": float(right[b]),
            "verdicts": [None if np.isnan(v) else float(v) for v in verdicts[b]],
            "conclusions": list(conclusions(domain, response)),
            "tokens": tokens[b],
        }
        for b, (pair, response) in enumerate(zip(sampled, responses, strict=True))
    ]
    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")
    part.replace(path)


def _claim(
    folder: Path, policy: Policy, domain: Domain, pairs: Sequence[Pair], config: DifficultyConfig, seed: int
) -> None:
    """Make the folder hold parts of this very sampling alone."""
    told = {
        "policy": fingerprint_policy(policy),
        "domain": fingerprint_config(domain.model_dump(mode="json")),
        "pairs": fingerprint_pairs(pairs),
        "rollouts": config.rollouts, "part_pairs": config.part_pairs, "seed": seed,
        "sampling": config.sampling.model_dump(mode="json"),
    }  # fmt: skip
    record = folder / "rollouts.json"
    if record.is_file() and json.loads(record.read_text("utf-8")) == told:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("part-*"):
        stale.unlink()
    record.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def fingerprint_policy(policy: Policy) -> str:
    """16 hex digits for the weights."""
    digest = hashlib.sha256()
    for name, weight in policy.model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
