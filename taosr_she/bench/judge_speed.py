"""Speed of judging one query against many products, with shared and with copied prompts; and how our cost grows."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import torch

from taosr_she.bench.our_step import OurStep
from taosr_she.bench.work import Bench, StepSize
from taosr_she.engine.shared_prefix import next_logits
from taosr_she.engine.speedups import speedups, without
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

RULES_AND_QUERY, PRODUCT, ANSWER, LABELS = 704, 64, 32, 4


def judged(policy: Policy, prompts: list[list[int]], left_out: tuple[str, ...] = (), rows: int = 256) -> None:
    """What `taosr-she judge` computes: a greedy response, then the label's distribution after part of it."""
    with without(*left_out):
        _judged(policy, prompts, rows)


def _judged(policy: Policy, prompts: list[list[int]], rows: int) -> None:
    greedy, in_decoding = Sampling(max_new_tokens=ANSWER, temperature=0), speedups().labels_in_decoding
    rollouts = sample_groups(policy, prompts, 1, greedy, 0, rows, range(LABELS) if in_decoding else ())
    if in_decoding:
        return
    contexts = [p + row[:-1] for p, row in zip(prompts, rollouts.ids.tolist(), strict=True)]
    with torch.inference_mode():
        for start in range(0, len(contexts), rows):
            next_logits(policy.model, contexts[start : start + rows])


def judge_speed(bench: Bench, products: int, rounds: int) -> dict[str, float]:
    """Pairs per second for one query and many products with the tiny model; medians of alternating rounds."""
    policy = bench.policy("tiny")
    prompts = bench.prompts(policy, products, RULES_AND_QUERY + PRODUCT, RULES_AND_QUERY)
    ways: dict[str, tuple[str, ...]] = {"ours": (), "copied": ("shared_prompts",)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    judged(policy, prompts[:8])
    for _ in range(rounds):
        for way, left_out in ways.items():
            seconds[way].append(_seconds(partial(judged, policy, prompts, left_out)))
    ours, copied = (products / median(seconds[way]) for way in ways)
    return {"products": products, "pairs_per_second": ours, "copied": copied, "factor": ours / copied}


def growth(bench: Bench, rounds: int) -> dict[str, float]:
    """How many times longer a step takes when one size is doubled (2 is linear), and judging when the pairs are."""
    base = StepSize("tiny", 256, 64, 8)
    cells = {
        "group": replace(base, group=16), "prompt": replace(base, prompt=512), "response": replace(base, response=128),
    }  # fmt: skip
    policy = bench.policy("tiny")
    steps = {
        name: OurStep(policy, bench.domain, bench.prompts(policy, 8, cell.prompt), cell)
        for name, cell in {"base": base, **cells}.items()
    }
    calls: dict[str, Callable[[], object]] = dict(steps)
    for name, count in (("pairs base", 64), ("pairs", 128)):
        prompts = bench.prompts(policy, count, RULES_AND_QUERY + PRODUCT, RULES_AND_QUERY)
        calls[name] = partial(judged, policy, prompts)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):  # the first round warms up
        for name, call in calls.items():
            taken[name].append(_seconds(call))
    seconds = {name: median(values[1:]) for name, values in taken.items()}
    return {name: seconds[name] / seconds["base"] for name in cells} | {
        "pairs": seconds["pairs"] / seconds["pairs base"]
    }


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
