"""`taosr-she bench trl`: the updates of `engine: trl`, in several processes, against those of our own loop.

Both train a small model with random weights, on the same rollouts: demonstrations of a small market, right and wrong
ones, with a verdict on each step. Every way to share a model is started as a user starts it, by `accelerate launch`
with a shipped configuration.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console

from taosr_she.bench.results import write_result
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import Response
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.policy import Policy, load_policy, save_policy
from taosr_she.model.sampler import Rollouts
from taosr_she.model.sampling import Sampling
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.train.rl.curriculum import Curriculum
from taosr_she.train.rl.settings import StepCreditSettings

CONFIGS = Path(__file__).parents[1] / "engines" / "trl" / "configs"
WAYS = {"DDP": ("ddp", None), "FSDP2": ("fsdp2", None), "DDP, LoRA": ("ddp", 4), "FSDP2, LoRA": ("fsdp2", 4)}
"""Name -> shipped configuration, rank of the adapter."""
COMPARED = ("loss", "grad_norm", "entropy", "kl", "reward", "signal_share", "lr")
BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}


def given_settings(rank: int | None = None, **changes: Any) -> StepCreditSettings:
    """Three updates that use what is easily got wrong: a KL, groups without signal, several micro-batches."""
    settings: dict[str, Any] = {
        "updates": 3, "pairs_per_update": 4, "group_size": 4, "sampling": Sampling(max_new_tokens=96),
        "loss": {"beta": 0.05}, "learning_rate": 1e-3, "warmup_updates": 2, "tokens_per_microbatch": 640,
        "weight_decay": 0.01, "keep_rollouts_every": 1, "lora": None if rank is None else {"rank": rank},
    }  # fmt: skip
    return StepCreditSettings.model_validate(settings | changes)


class Given:
    """Pairs with rollouts that depend only on pair and update, and an examiner whose verdicts depend on the text."""

    def __init__(self) -> None:
        self.domain: Domain = load_domain("taobao").with_overrides(BARE)
        config = MarketConfig(demonstration_pairs=100, training_pairs=0, development_pairs=0, test_pairs=0)
        market = generate_market(config, 1)
        known = {pair.pair_id: pair for pair in market.pairs["demonstration"]}
        self.texts = {d.pair_id: d.response for d in market.demonstrations}
        self.pairs = [known[name] for name in list(self.texts)[:8]]
        self._words = [render_prompt(self.domain, known[name]) + text for name, text in self.texts.items()]

    def policy(self) -> Policy:
        """A new model with random weights."""
        shape = TinyConfig(hidden=64, layers=2, heads=2, kv_heads=1, ffn=128, vocab_size=600)
        return build_tiny(self._words, self.domain, shape, 1)

    def responses(self, policy: Policy, pair: Pair, update: int, size: int, length: int) -> list[list[int]]:
        """Token ids of a group. Every third group says the same in all its rollouts, and has no signal."""
        random = Random(f"{pair.pair_id} {update}")
        own = self.texts[pair.pair_id]
        texts = [own, *random.sample(sorted(self.texts.values()), size - 1)]
        if random.random() < 1 / 3:
            texts = [own] * size
        return [policy.encode_response(text)[:length] for text in texts]

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.stack([_verdicts(response.text, len(self.domain.step_keys)) for response in responses])
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


@cache
def _verdicts(text: str, steps: int) -> np.ndarray:
    """(K,) verdicts of a text: right, wrong, in between, or unknown."""
    digest = hashlib.sha256(text.encode()).digest()
    return np.array([(1.0, 0.0, 0.6, np.nan)[byte % 4] for byte in digest[:steps]], dtype=np.float32)


def in_our_loop(given: Given) -> AbstractContextManager[Any]:
    """Our own loop gets the given rollouts instead of sampling."""
    of_prompt: dict[tuple[int, ...], Pair] = {}
    updates = count()

    def sample(policy: Policy, prompts: list[list[int]], size: int, sampling: Sampling, *_: Any) -> Rollouts:
        for pair in given.pairs:
            of_prompt.setdefault(tuple(policy.encode_prompt(given.domain, pair)), pair)
        pairs, update = [of_prompt[tuple(prompt)] for prompt in prompts], next(updates)
        rows = [ids for pair in pairs for ids in given.responses(policy, pair, update, size, sampling.max_new_tokens)]
        mask = torch.arange(max(map(len, rows))) < torch.tensor([len(ids) for ids in rows])[:, None]
        ids = torch.full(mask.shape, policy.pad_id)
        for row, own in zip(ids, rows, strict=True):
            row[: len(own)] = torch.tensor(own)
        of_rows = [prompt for prompt in prompts for _ in range(size)]
        with torch.no_grad():
            logprobs = response_logprobs(policy.model, of_rows, ids, mask, sampling.temperature)[0]
        return Rollouts(
            ids=ids, mask=mask, logprobs=logprobs,
            finished=torch.tensor([own[-1] in policy.end_ids for own in rows]),
            group=torch.arange(len(prompts)).repeat_interleave(size),
        )  # fmt: skip

    return patch("taosr_she.train.rl.loop.sample_groups", sample)


def in_trl(given: Given) -> AbstractContextManager[Any]:
    """TRL gets them, in the process in which this is entered. The start-up check still samples."""
    from taosr_she.engines.trl import trainer

    class Replaying(trainer.SRPOTrainer):
        def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **more: Any) -> Any:
            if len(prompt_ids) != self.rows.stop - self.rows.start:  # of the start-up check
                return super()._generate_single_turn(prompt_ids, *rest, **more)
            s = self._settings
            every = [
                ids
                for pair in self.pairs
                for ids in given.responses(self.policy, pair, self.update, s.group_size, s.sampling.max_new_tokens)
            ]
            return every[self.rows], None

    return patch("taosr_she.engines.trl.trainer.SRPOTrainer", Replaying)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics of a training."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def train_ours(
    given: Given, start: Path, settings: StepCreditSettings, folder: Path, curriculum: Curriculum | None = None
) -> None:
    """Train with our own loop in this process."""
    from taosr_she.train.rl.loop import train_step_credit

    with in_our_loop(given):
        policy = load_policy(start, "cpu", "float32")
        train_step_credit(policy, given.domain, given.pairs, given, settings, 1, folder, curriculum=curriculum)


def train_theirs(
    given: Given, start: Path, settings: StepCreditSettings, folder: Path, curriculum: Curriculum | None = None
) -> None:
    """Train with TRL in the processes of this run."""
    from taosr_she.engines.trl.train import train_by_trl

    policy = load_policy(start, "cpu", "float32")
    train_by_trl(policy, given.domain, given.pairs, given, settings, 1, folder, device="cpu", curriculum=curriculum)


def distance(start: Path, ours: Path, theirs: Path) -> float:
    """How far the trained weights are apart, as a share of how far training has moved them."""
    first, a, b = (load_policy(path, "cpu", "float32").model.state_dict() for path in (start, ours, theirs))
    apart = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    moved = sum(float((a[name] - first[name]).double().square().sum()) for name in a)
    return float((apart / moved) ** 0.5)


def gaps(ours: Path, theirs: Path) -> dict[str, float]:
    """The largest difference of the compared columns over all updates; of advantages, of all kept tokens."""
    import pyarrow.parquet as pq

    a, b = rows_of(ours), rows_of(theirs)
    assert [row["step"] for row in a] == [row["step"] for row in b]
    # Undefined (None) where no group has signal, which must be so on both sides.
    both = {name: [(x[name], y[name]) for x, y in zip(a, b, strict=True) if (x[name], y[name]) != (None, None)]
            for name in COMPARED}  # fmt: skip
    found = {name: max(abs(x - y) for x, y in values) for name, values in both.items()}
    tables = [[pq.read_table(file) for file in sorted((at / "rollouts").glob("*.parquet"))] for at in (ours, theirs)]
    for left, right in zip(*tables, strict=True):
        for column in ("pair_id", "response", "tokens", "token_steps", "token_advantages", "verdicts", "sources"):
            x, y = (str(table.column(column).to_pylist()) for table in (left, right))  # as text: nan equals nan
            assert x == y, column
    return found


def measure_trl(
    console: Console, out: Path, work: Path, processes: int, ways: Sequence[str] = tuple(WAYS)
) -> dict[str, Any]:
    """Print the table and write `trl.json` and `trl.md` to the folder `out`; the trainings go to `work`."""
    out.mkdir(parents=True, exist_ok=True)
    given = Given()
    start = work / "start"
    for old in ("ours", "ours-lora", *(_folder(way) for way in WAYS)):
        shutil.rmtree(work / old, ignore_errors=True)
    save_policy(given.policy(), start)
    found = {}
    for way in ways:
        config, lora = WAYS[way]
        settings = given_settings(lora)
        ours, theirs = work / ("ours" if lora is None else "ours-lora"), work / _folder(way)
        if not ours.exists():
            train_ours(given, start, settings, ours)
        launch(config, processes, start, theirs, lora)
        check = json.loads((theirs / "start_check.json").read_text("utf-8"))
        found[way] = gaps(ours, theirs) | {
            "losses": [[row["loss"] for row in rows_of(side)] for side in (ours, theirs)],
            "weights": distance(start, ours / "checkpoint", theirs / "checkpoint"),
            "moved": check["moved"], "apart": check["apart_after"],
        }  # fmt: skip
        console.print(f"{way}: {found[way]}", highlight=False, soft_wrap=True)
    result = {"processes": processes, "ways": found}
    write_result(console, out, "trl", result, table(result))
    return result


def _folder(way: str) -> str:
    return way.lower().replace(", ", "-")


def launch(config: str, processes: int, start: Path, folder: Path, lora: int | None) -> None:
    """Train with TRL in processes that accelerate starts."""
    command = [
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file",
        str(CONFIGS / f"{config}.yaml"), "--num_processes", str(processes), "--main_process_port", "0",
        "-m", "taosr_she.bench.trl_equal", str(start), str(folder), *([] if lora is None else [str(lora)]),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Three updates by `engine: trl` in {result['processes']} processes (gloo, CPU, float32), against our own loop "
        "in one, on the same rollouts: the largest difference of a column over the updates, how far the weights are "
        "apart at the end as a share of how far training moved them, and the start-up check.",
        "",
        "| way | losses, ours · TRL's | loss | gradient norm | entropy | KL | weights | check: moved | check: apart |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for way, row in result["ways"].items():
        losses = " · ".join(", ".join(f"{loss:.6f}" for loss in side) for side in row["losses"])
        shown = [row[name] for name in ("loss", "grad_norm", "entropy", "kl", "weights", "moved", "apart")]
        lines.append(f"| {way} | {losses} | {' | '.join(f'{value:.0e}' for value in shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from taosr_she.ranks.launch import joined

    torch.set_num_threads(1)
    material = Given()
    with in_trl(material), joined():
        at, to, *adapter = sys.argv[1:]
        train_theirs(material, Path(at), given_settings(int(adapter[0]) if adapter else None), Path(to))
