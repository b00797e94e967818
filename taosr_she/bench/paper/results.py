"""One JSON of everything that the cells have written: means, intervals, tests, curves, tokens and seconds."""

import json
import math
import platform
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she import __version__
from taosr_she.bench.paper.curves import curve_of, mean_curve, reached
from taosr_she.bench.paper.kept import Prints, merge_rows, planned_prints
from taosr_she.bench.paper.methods import FLIPS, METHODS, STEP_RULES, group
from taosr_she.bench.paper.recipes import EVALUATE
from taosr_she.bench.paper.settings import SETTINGS, Setting
from taosr_she.bench.paper.statistics import holm, over_seeds, two_level
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.evaluate.intervals import resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction, read_predictions

BASELINE = "grpo"
CLASSIC = {
    "majority": ("Majority label", "The commonest label of the training pairs, always."),
    "tfidf": ("TF-IDF", "Logistic regression on words of query and product, on the labels of the training pairs."),
}
COMPARED = ("macro_f1", "good_f1", "accuracy", "steps_all_right", "right_label_wrong_reasoning")
RESAMPLES = 2000

Sample = dict[str, np.ndarray]  # metric -> (RESAMPLES,) values over resampled queries, of one seed


def collect(base: Path, command: str, earlier: dict[str, Any], first_seeds: int | None = None) -> dict[str, Any]:
    """What lies under `base`, of the first seeds or all, and what an earlier result holds beyond it.

    What neither has is listed in `missing`; with `first_seeds` the main rows of the first setting are all that is
    expected.
    """
    missing: list[str] = []
    settings: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        prints = planned_prints(base, name)
        found = _setting(base, name, setting, prints or {}, first_seeds)
        known = earlier.get("settings", {}).get(name, {}).get("rows", {})
        settings[name] = found | {"rows": merge_rows(found["rows"], known, prints)}
        if first_seeds is None or name == next(iter(SETTINGS)):
            missing += _missing(name, setting, settings[name]["rows"], first_seeds)
    return {
        "command": command,
        "versions": {"taosr_she": __version__, **{n: version(n) for n in ("torch", "transformers", "trl")}},
        "machine": f"{platform.machine()}, {cpu_count()} cores, one thread a process",
        "resamples": RESAMPLES,
        "methods": {k: {"title": m.title, "group": m.group, "what": m.what} for k, m in METHODS.items()}
        | {k: {"title": title, "group": "classic", "what": what} for k, (title, what) in CLASSIC.items()},
        "settings": {name: found for name, found in settings.items() if found["rows"]},
        "noise": noise(settings),
        "missing": missing,
    }


def _missing(name: str, setting: Setting, rows: dict[str, Any], first_seeds: int | None) -> list[str]:
    return [
        f"{name} seed {seed}: {key}"
        for key, method in METHODS.items()
        if first_seeds is None or method.group == "main"
        for seed in setting.seeds.get(method.group, ())[:first_seeds]
        if str(seed) not in rows.get(key, {}).get("cells", {})
    ]


def _setting(base: Path, name: str, setting: Setting, prints: Prints, first_seeds: int | None) -> dict[str, Any]:
    domain = load_domain(setting.domain).with_overrides(setting.domain_overrides)
    rows: dict[str, Any] = {}
    samples: dict[str, dict[int, tuple[dict[str, float], Sample]]] = {}
    for key, method in METHODS.items():
        seeds = setting.seeds.get(method.group, ())[:first_seeds]
        folders = {seed: base / name / f"seed-{seed}" / "stages" for seed in seeds}
        there = {s: f for s, f in folders.items() if _done(f / f"{EVALUATE}{key}", prints.get((key, s)))}
        if there:
            samples[key] = {
                s: _measured(domain, f / f"{EVALUATE}{key}", _model(key), setting) for s, f in there.items()
            }
            rows[key] = _row(samples[key]) | _work(there, key) | _robustness(there, key)
            rows[key]["cells"] = {str(s): prints[key, s] for s in there}
    start = {
        int(s): base / name / f"seed-{s}" / "stages" / f"{EVALUATE}sft" for s in rows.get("sft", {"cells": {}})["cells"]
    }
    for key in CLASSIC if start else ():
        samples[key] = {s: _measured(domain, f, key, setting) for s, f in start.items()}
        rows[key] = _row(samples[key]) | {"cells": rows["sft"]["cells"]}
    steps = [f"step_{key}" for key in domain.step_keys]
    compared = [*COMPARED, *steps, *(f"macro_f1 {tag}" for tag in setting.slices)]
    _compare(rows, samples, compared, {k: BASELINE for k in (*group("main"), *CLASSIC)})
    _compare(rows, samples, compared, {k: METHODS[k].tuned_as for k in group("ablation")})
    _targets(rows)
    return {
        "title": setting.title, "what": setting.what, "step_keys": list(domain.step_keys), "codes": list(domain.codes),
        "baseline": BASELINE, "slices": list(setting.slices), "rows": rows,
    }  # fmt: skip


def _done(folder: Path, wanted: str | None) -> bool:
    """Whether the cell is there, made as it would be made now."""
    file = folder / "stage.json"
    return file.is_file() and json.loads(file.read_text("utf-8"))["fingerprint"] == wanted


def _model(key: str) -> str:
    return "sft" if METHODS[key].kind == "none" else key


def _measured(domain: Domain, folder: Path, model: str, setting: Setting) -> tuple[dict[str, float], Sample]:
    """Metrics of one method and seed, and the same over resampled queries; slices as `macro_f1 <tag>`."""
    predictions = read_predictions(folder / f"predictions-{model}.jsonl")
    metrics, drawn = compute_metrics(domain, predictions), resampled_metrics(domain, predictions, RESAMPLES, 0)
    for tag in setting.slices:
        inside: list[Prediction] = [p for p in predictions if tag in p.tags]
        if inside:
            metrics[f"macro_f1 {tag}"] = compute_metrics(domain, inside)["macro_f1"]
            drawn[f"macro_f1 {tag}"] = resampled_metrics(domain, inside, RESAMPLES, 0)["macro_f1"]
    return metrics, drawn


def _row(by_seed: dict[int, tuple[dict[str, float], Sample]]) -> dict[str, Any]:
    metrics = {}
    for metric in next(iter(by_seed.values()))[0]:
        values = [found[metric] for found, _ in by_seed.values()]
        if not any(math.isnan(v) for v in values):
            metrics[metric] = over_seeds(values, np.stack([drawn[metric] for _, drawn in by_seed.values()]))
    return {"seeds": list(by_seed), "metrics": metrics}


def _compare(
    rows: dict[str, Any],
    samples: dict[str, dict[int, tuple[dict[str, float], Sample]]],
    metrics: list[str],
    against: dict[str, str],
) -> None:
    """Paired differences of each method from another, on the same seeds and resamples; p by Holm within the table."""
    for metric in metrics:
        found: dict[str, dict[str, Any]] = {}
        for key, base in against.items():
            both = [s for s in samples.get(key, {}) if s in samples.get(base, {})]
            if key == base or not both or any(metric not in rows[k]["metrics"] for k in (key, base)):
                continue
            pairs = [(samples[key][s], samples[base][s]) for s in both]
            drawn = np.stack([mine[1][metric] - other[1][metric] for mine, other in pairs])
            cell = over_seeds([mine[0][metric] - other[0][metric] for mine, other in pairs], drawn)
            found[key] = {"base": base, "difference": cell["mean"], **{k: cell[k] for k in ("low", "high", "values")}}
            found[key]["p"] = two_level(drawn)[1]
        corrected = holm([c["p"] for c in found.values()])
        for (key, cell), p in zip(found.items(), corrected, strict=True):
            rows[key].setdefault("against", {})[metric] = cell | {"p_holm": p}


def _work(there: dict[int, Path], key: str) -> dict[str, Any]:
    """Generated tokens and seconds of the training stage (means over seeds), entropy at its end, learning curve."""
    if METHODS[key].kind == "none":
        return {}
    records = [json.loads((f / key / "stage.json").read_text("utf-8")) for f in there.values()]
    work: dict[str, Any] = {
        "tokens": _mean([r["summary"].get("tokens", 0) for r in records]),
        "seconds": _mean([r["seconds"] for r in records]),
    }
    before = [_before(f, key) for f in there.values()]
    work |= {"selection_tokens": _mean([b[0] for b in before]), "preparation_seconds": _mean([b[1] for b in before])}
    if METHODS[key].kind == "rl":
        curves = [curve_of(f / key, selection) for f, (selection, _) in zip(there.values(), before, strict=True)]
        work |= {"curve": mean_curve(curves), "entropy": _mean([c[-1]["entropy"] for c in curves])}
        work["seconds"] = _mean([c[-1]["seconds"] for c in curves])
        work["signal"] = _mean([_mean(_column(f / key, "signal_share")) for f in there.values()])
    return work


def _before(stages: Path, key: str) -> tuple[float, float]:
    """Tokens that selection sampled for a method, and seconds of the reward models and selections that it reads."""
    tokens, seconds = 0.0, 0.0
    records: dict[str, Any] = {}
    open_ = [key]
    while open_:
        for read in json.loads((stages / open_.pop() / "stage.json").read_text("utf-8"))["inputs"]:
            file = stages / read / "stage.json"
            if read not in records and file.is_file():  # a data stage also names the files that it reads
                records[read] = json.loads(file.read_text("utf-8"))
                open_.append(read)
    for record in records.values():
        if record["kind"] in ("select", "judge", "scalar"):
            seconds += record["seconds"]
        if record["kind"] == "select":
            tokens += record["summary"].get("tokens", 0)
    return tokens, seconds


def _robustness(there: dict[int, Path], key: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for folder in there.values():
        results = json.loads((folder / f"{EVALUATE}{key}" / "results.json").read_text("utf-8"))
        if own := results["models"][_model(key)].get("robustness"):
            found.append(own)
    if not found:
        return {}
    return {
        "robustness": {
            probe: {name: _mean([f[probe][name] for f in found]) for name in ("macro_f1", "clean", "changed")}
            for probe in found[0]
        }
    }


def _targets(rows: dict[str, Any]) -> None:
    """Tokens and seconds until the mean learning curve is where the baseline's ends (development pairs), and where the
    curve is when the baseline's tokens, or its seconds, are spent."""
    if "curve" not in rows.get(BASELINE, {}):
        return
    last = rows[BASELINE]["curve"][-1]
    for row in rows.values():
        if "curve" in row:
            row["target"] = {"macro_f1": last["macro_f1"], **reached(row["curve"], last["macro_f1"])}
            row["at_baseline_tokens"] = value_at(row["curve"], "tokens", last["tokens"])
            row["at_baseline_seconds"] = value_at(row["curve"], "seconds", last["seconds"] - row["preparation_seconds"])


def value_at(curve: list[dict[str, float]], axis: str, spent: float) -> float | None:
    """Macro-F1 of a curve when so much is spent, linear between looks; None when that is before its first look."""
    if spent < curve[0][axis]:
        return None
    return float(np.interp(spent, [p[axis] for p in curve], [p["macro_f1"] for p in curve]))


def noise(settings: dict[str, Any]) -> dict[str, Any]:
    """Credit rule -> its metrics at every rate of turned verdicts, of the first setting that has them."""
    for name, setting in settings.items():
        rows = setting["rows"]
        rules = {
            rule: {
                metric: [rows.get(f"{rule}_flip{round(100 * flip)}", {}).get("metrics", {}).get(metric) for flip in
                         (0.0, *FLIPS)]
                for metric in ("macro_f1", "steps_all_right", "right_label_wrong_reasoning")
            }
            for rule in STEP_RULES
        }  # fmt: skip
        if any(cell for metrics in rules.values() for cells in metrics.values() for cell in cells):
            return {"setting": name, "levels": [0.0, *FLIPS], "rules": rules}
    return {}


def _column(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [float(row[name]) for row in rows]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
