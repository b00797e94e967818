"""A small synthetic run folder in exactly the layout that a recipe writes."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

STEPS = ("query", "product", "category", "attributes", "label")
CODES = ("4", "3", "2", "1")
TAGS = {
    "stated": 410,
    "negation": 92,
    "budget": 118,
    "need": 87,
    "alternatives": 64,
    "sub_brand": 71,
    "near": 103,
    "tail": 24,
}
SHARES = {
    "sft": (0.748, 0.801, 0.752, (0.79, 0.80, 0.87, 0.63), 0.118),
    "grpo": (0.803, 0.852, 0.811, (0.90, 0.78, 0.92, 0.68), 0.142),
    "srpo": (0.861, 0.897, 0.866, (0.97, 0.86, 0.97, 0.79), 0.049),
}
NASTY = '<script>window.broken = 1</script><img src="https://example.org/x.png" onerror="window.broken = 2"> & "boots"'
PRODUCTS = (
    "NORVIK lite trail shoe | waterproof | HOT SALE free shipping", "Alder & Fox leather boot, better than Norvik",
    "rain jacket women, recycled nylon, red", "steel bottle 750 ml (lid for Norvik flask)", NASTY,
)  # fmt: skip
QUERIES = ("norvik shoe for a rainy trek under 80", "boots without leather", "red or blue rain jacket", "vegan wallet")


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), "utf-8")


def interval(value: float, half: float) -> list[float]:
    return [value - half, value + half]


def model_results(macro: float, good: float, accuracy: float, steps: tuple[float, ...], wrong: float) -> dict[str, Any]:
    by_step = dict(zip((f"step_{key}" for key in STEPS), (*steps, accuracy), strict=True))
    metrics = {
        "macro_f1": macro, "good_f1": good, "accuracy": accuracy, **by_step, "steps_all_right": macro - 0.16,
        "right_label_wrong_reasoning": wrong, "wrong_label_right_reasoning": wrong / 3, "malformed": 0.0125,
        "ece": wrong / 2, "tokens_per_second": 5123.4 + 100 * macro, "mean_tokens": 47.3,
    }  # fmt: skip
    shares = {k: v for k, v in metrics.items() if k not in ("tokens_per_second", "mean_tokens", "ece")}
    confusion = []
    for i in range(4):
        right = round(200 * (accuracy + 0.03 * (i % 2) - 0.02))
        rest = 200 - right - 2
        confusion.append([right if j == i else rest // 3 + (j == (i + 1) % 4) * (rest % 3) for j in range(4)] + [2])
    return {
        "metrics": metrics,
        "intervals": {key: interval(value, min(value, 0.021)) for key, value in shares.items()},
        "confusion": confusion,
        "per_class": {
            code: {"precision": macro + 0.01 * i, "recall": macro - 0.002 * i, "f1": macro - 0.005 * i, "support": 200}
            for i, code in enumerate(CODES)
        },
        "slices": {
            tag: {"n": n, "macro_f1": f1, "low": max(0.0, f1 - 1 / n**0.5), "high": f1 + 0.8 / n**0.5}
            for i, (tag, n) in enumerate(TAGS.items())
            for f1 in (max(0.0, macro - 0.02 * i),)
        },
        "first_error": {"query": 61, "product": 84, "category": 12, "attributes": 57, "label": 9, "none": 577},
    }  # fmt: skip


def baseline_results(macro: float) -> dict[str, Any]:
    model = model_results(macro, macro + 0.1, macro + 0.05, (0.5, 0.5, 0.5, 0.5), 0.1)
    undefined = [key for key in model["metrics"] if key not in ("macro_f1", "good_f1", "accuracy", "malformed")]
    model["metrics"] |= dict.fromkeys(undefined) | {"malformed": 0.0, "mean_tokens": 0.0}
    model["intervals"] = {k: v for k, v in model["intervals"].items() if k in ("macro_f1", "good_f1", "accuracy")}
    return model | {"first_error": {}}


def make_results() -> dict[str, Any]:
    models = {"majority": baseline_results(0.118), "tfidf": baseline_results(0.512)}
    models |= {name: model_results(*shares) for name, shares in SHARES.items()}
    paired = []
    for a, b in (("sft", "grpo"), ("sft", "srpo"), ("grpo", "srpo")):
        for metric in ("macro_f1", "good_f1", "accuracy", "right_label_wrong_reasoning", "step_query", "step_product"):
            d = models[b]["metrics"][metric] - models[a]["metrics"][metric]
            p = 0.0002 if abs(d) > 0.05 else 0.013 if abs(d) > 0.02 else 0.31
            paired.append(
                {"a": a, "b": b, "metric": metric, "difference": d, "low": d - 0.02, "high": d + 0.02, "p": p}
            )
    return {
        "models": models, "paired": paired, "codes": list(CODES), "step_keys": list(STEPS), "split": "test",
        "pairs": 800, "notes": ["The market is synthetic: pairs, labels and annotators come from a seeded generator."],
    }  # fmt: skip


def rl_metrics(rng: random.Random, updates: int, gain: float) -> list[dict[str, Any]]:
    rows = []
    for step in range(1, updates + 1):
        rise = 1 - math.exp(-step / (updates / 2.5))
        row: dict[str, Any] = {"step": step, "seconds": 2.1, "reward": 0.6 + gain * rise + rng.gauss(0, 0.03)}
        for k, key in enumerate(STEPS):
            row[f"reward_{key}"] = 0.7 + 0.05 * k * (k < 3) + gain * rise * (1.3 - 0.2 * k) + rng.gauss(0, 0.025)
        row |= {
            "known_share": 1.0, "signal_share": 0.72 - 0.3 * rise + rng.gauss(0, 0.04),
            "entropy": float("nan") if step == 5 else 0.34 - gain * 0.8 * rise + rng.gauss(0, 0.01), "kl": 0.0,
            "length": 48 + 3 * rise + rng.gauss(0, 0.7),
            "malformed_rate": max(0.0, 0.05 - 0.05 * rise + rng.gauss(0, 0.01)),
            "loss": -0.01, "grad_norm": 0.4, "lr": 1e-4, "clip_share": 0.0, "tokens": step * 12000,
            "tokens_per_second": 5600 + rng.gauss(0, 250),
            "seconds_generate": 1.2, "seconds_examine": 0.1, "seconds_update": 0.8,
        }  # fmt: skip
        rows.append(row)
    return rows


def rollout_rows(rng: random.Random, step: int, groups: int, size: int) -> list[dict[str, Any]]:
    rows = []
    for group in range(groups):
        query, product = QUERIES[(step + group) % len(QUERIES)], PRODUCTS[(step * 3 + group) % len(PRODUCTS)]
        for rollout in range(size):
            easy = group % 4 == 0  # a group whose rollouts agree
            label = CODES[(group + step) % 4]
            predicted = label if easy or rng.random() < 0.6 else CODES[(group + step + 1) % 4]
            texts = (
                "category: shoe; feature: waterproof; price: under 80",
                f"category: shoe; brand: {product.split()[0]}; price: 74",
                "same", "brand: match; feature: unknown; price: match", predicted,
            )  # fmt: skip
            lines = [f"[{key}] {text}" for key, text in zip(STEPS, texts, strict=True)]
            malformed = not easy and rng.random() < 0.08
            lines = lines[:3] if malformed else lines
            outcome = float(predicted == label and not malformed)
            verdicts = [1.0 if easy or rng.random() < 0.75 else 0.0 for _ in STEPS[:4]] + [outcome]
            verdicts[1] = float("nan") if group % 5 == 1 else 0.83 if group % 5 == 2 else verdicts[1]
            verdicts[3] = 0.0 if malformed else verdicts[3]
            tokens, steps, advantages = [], [], []
            for k, line in enumerate(lines):
                credit = (
                    0.0
                    if easy
                    else round((outcome - 0.5) + 0.8 * (0.0 if math.isnan(verdicts[k]) else verdicts[k] - 0.6), 4)
                )
                words = line.replace("[", "[ ").replace("]", " ]").replace(":", " :").replace(";", " ;").split()
                tokens += [*words, "\n"]
                steps += [k] * (len(words) + 1)
                advantages += [credit] * (len(words) + 1)
            tokens[-1] = "<end>"
            rows.append(
                {
                    "step": step, "pair_id": f"p{step}-{group}", "query": query, "product": product, "label": label,
                    "group": group, "rollout": rollout, "response": "\n".join(lines),
                    "predicted": None if malformed else predicted,
                    "reason": "section [attributes] missing" if malformed else None, "outcome": outcome,
                    "tokens": tokens, "token_steps": steps, "token_advantages": advantages, "verdicts": verdicts,
                    "sources": ["unknown" if math.isnan(v) else "human" for v in verdicts],
                }
            )  # fmt: skip
    return rows


def make_run(folder: Path, updates: int = 60, groups: int = 8, size: int = 8, every: int = 5) -> Path:
    """Write a finished run of market, sft, grpo, srpo and evaluate; returns the folder."""
    rng = random.Random(7)
    rl = {"kind": "rl", "start": "sft", "settings": {"updates": updates, "group_size": size}}
    stages: dict[str, dict[str, Any]] = {
        "data": {"kind": "market", "market": {"training_pairs": 2400}},
        "sft": {"kind": "sft", "settings": {"epochs": 8}},
        "grpo": {**rl, "settings": {**rl["settings"], "credit": {"rule": "outcome"}}},  # type: ignore[dict-item]
        "srpo": {**rl, "settings": {**rl["settings"], "credit": {"rule": "srpo"}}},  # type: ignore[dict-item]
        "evaluate": {"kind": "evaluate", "models": ["sft", "grpo", "srpo"], "baselines": ["majority", "tfidf"]},
    }
    seconds = {"data": 3.2, "sft": 101.4, "grpo": 139.0, "srpo": 143.7, "evaluate": 61.2}
    recipe = {"name": "demo", "seed": 1, "domain": "taobao", "notes": make_results()["notes"], "stages": stages}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), "utf-8")
    environment = {
        "taosr_she": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "numpy": "2.4.1",
        "platform": "Linux-6.1-x86_64", "cpus": 2, "threads": 1, "gpu": None, "seed": 1,
    }  # fmt: skip
    write_json(folder / "environment.json", environment)
    for name, settings in stages.items():
        path = folder / "stages" / name
        path.mkdir(parents=True)
        summary = (
            {"updates": updates, "tokens": 720_000, "reward": 0.8125} if settings["kind"] == "rl" else {"pairs": 800}
        )
        record = {"name": name, "kind": settings["kind"], "seconds": seconds[name], "fingerprint": f"{name:0<16}"}
        write_json(path / "stage.json", {**record, "inputs": {}, "summary": summary})
        rows: list[dict[str, Any]] = []
        if settings["kind"] == "sft":
            rows = [
                {"step": i, "loss": 0.2 + 6 * math.exp(-i / 60) + rng.gauss(0, 0.02), "lr": 1e-3, "seconds": i * 0.1}
                for i in range(1, 1001)
            ]
        if settings["kind"] == "rl":
            rows = rl_metrics(rng, updates, 0.12 if name == "grpo" else 0.2)
            (path / "rollouts").mkdir()
            for update in sorted({*range(0, updates, every), updates - 1}):
                table = pa.Table.from_pylist(rollout_rows(rng, update + 1, groups, size))
                pq.write_table(table, path / "rollouts" / f"{update:05d}.parquet", compression="zstd")
        if rows:
            (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    write_json(folder / "stages" / "evaluate" / "results.json", make_results())
    return folder


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    """`new_run(updates=..., groups=..., size=..., every=...)` writes a run folder of one's own."""
    return lambda **sizes: make_run(tmp_path / "run", **sizes)


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that tests only read."""
    return make_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")  # while it is open, no other test can run an event loop
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the report is not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()
