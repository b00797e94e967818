"""One JSON file with the results of all cells: means, intervals, tests, curves, tokens and seconds."""

import math
import platform
from importlib.metadata import version
from os import cpu_count
from typing import Any

import numpy as np

from taosr_she import __version__
from taosr_she.bench.paper.chains import by_chain
from taosr_she.bench.paper.curves import mean_curve, reached
from taosr_she.bench.paper.kept import Cells
from taosr_she.bench.paper.methods import CLASSIC, FLIPS, METHODS, STEP_RULES, group
from taosr_she.bench.paper.settings import SETTINGS, Setting
from taosr_she.bench.predictions import Record, decode
from taosr_she.bench.statistics import holm, over_seeds, two_level
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.evaluate.intervals import resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction

BASELINE = "grpo"
COMPARED = ("macro_f1", "good_f1", "accuracy", "steps_all_right", "right_label_wrong_reasoning")
SLICED = ("macro_f1", "steps_all_right")
RESAMPLES = 2000

Sample = dict[str, np.ndarray]  # metric -> (RESAMPLES,) values over resampled queries, of one seed


def collect(cells: Cells, command: str, first_seeds: int | None = None) -> dict[str, Any]:
    """Everything that the page shows, from the cells of all seeds, or of the first `first_seeds` only.

    Cells that have not been run are listed in `missing`. With `first_seeds`, only the main rows of the first setting
    are expected.
    """
    missing: list[str] = []
    settings: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        if first_seeds is None or name == next(iter(SETTINGS)):
            settings[name] = _setting(cells.get(name, {}), name, setting, missing, first_seeds)
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


def _setting(
    cells: dict[str, Any], name: str, setting: Setting, missing: list[str], first_seeds: int | None
) -> dict[str, Any]:
    domain = load_domain(setting.domain).with_overrides(setting.domain_overrides)
    rows: dict[str, Any] = {}
    samples: dict[str, dict[int, tuple[dict[str, float], Sample]]] = {}
    curves: dict[str, dict[int, Any]] = {}
    predictions: dict[str, dict[int, list[Prediction]]] = {}
    for key in (*METHODS, *CLASSIC):
        which = METHODS[key].group if key in METHODS else "main"
        if first_seeds is not None and which != "main":
            continue
        seeds = setting.seeds.get(which, ())[:first_seeds]
        done = {s: cells[str(s)] for s in seeds if key in cells.get(str(s), {"methods": {}})["methods"]}
        missing += [f"{name} seed {s}: {key}" for s in seeds if s not in done]
        if done:
            records = [cell["methods"][key] for cell in done.values()]
            predictions[key] = {s: decode(domain, cell["pairs"], cell["methods"][key]) for s, cell in done.items()}
            samples[key] = {s: _measured(domain, of_seed, setting) for s, of_seed in predictions[key].items()}
            rows[key] = _row(samples[key]) | _work(records) | _robustness(records)
            if all("curve" in r for r in records):
                curves[key] = {s: r["curve"] for s, r in zip(done, records, strict=True)}
    steps = [f"step_{key}" for key in domain.step_keys]
    compared = [*COMPARED, *steps, *(f"macro_f1 {tag}" for tag in setting.slices)]
    _compare(rows, samples, compared, {k: BASELINE for k in (*group("main"), *CLASSIC)})
    _compare(rows, samples, compared, {k: METHODS[k].against or METHODS[k].tuned_as for k in group("ablation")})
    _compare(rows, samples, compared, {k: BASELINE for k in group("noise")})
    _targets(rows, curves)
    for key, row in rows.items():
        both = [s for s in predictions[key] if s in predictions.get(BASELINE, {})]
        if both and key not in (BASELINE, *CLASSIC):
            row["chains"] = by_chain(domain, [(predictions[key][s], predictions[BASELINE][s]) for s in both])
    return {
        "title": setting.title, "what": setting.what, "step_keys": list(domain.step_keys), "codes": list(domain.codes),
        "baseline": BASELINE, "slices": list(setting.slices), "rows": rows,
    }  # fmt: skip


def _measured(domain: Domain, predictions: list[Prediction], setting: Setting) -> tuple[dict[str, float], Sample]:
    """Metrics of one method and seed, and their values over resampled queries. Slices are named `<metric> <tag>`."""
    metrics, drawn = compute_metrics(domain, predictions), resampled_metrics(domain, predictions, RESAMPLES, 0)
    for tag in setting.slices:
        inside = [p for p in predictions if tag in p.tags]
        if inside:
            own, own_drawn = compute_metrics(domain, inside), resampled_metrics(domain, inside, RESAMPLES, 0)
            for metric in SLICED:
                metrics[f"{metric} {tag}"], drawn[f"{metric} {tag}"] = own[metric], own_drawn[metric]
    return metrics, drawn


def _row(by_seed: dict[int, tuple[dict[str, float], Sample]]) -> dict[str, Any]:
    metrics = {}
    for metric in next(iter(by_seed.values()))[0]:
        values = [of_seed[metric] for of_seed, _ in by_seed.values()]
        if not any(math.isnan(v) for v in values):
            metrics[metric] = over_seeds(values, np.stack([drawn[metric] for _, drawn in by_seed.values()]))
    return {"seeds": list(by_seed), "metrics": metrics}


def _compare(
    rows: dict[str, Any],
    samples: dict[str, dict[int, tuple[dict[str, float], Sample]]],
    metrics: list[str],
    against: dict[str, str],
) -> None:
    """Paired differences of each method from another, on the same seeds and resamples, with Holm-corrected p-values."""
    for metric in metrics:
        differences: dict[str, dict[str, Any]] = {}
        for key, base in against.items():
            both = [s for s in samples.get(key, {}) if s in samples.get(base, {})]
            if key == base or not both or any(metric not in rows[k]["metrics"] for k in (key, base)):
                continue
            pairs = [(samples[key][s], samples[base][s]) for s in both]
            drawn = np.stack([mine[1][metric] - other[1][metric] for mine, other in pairs])
            cell = over_seeds([mine[0][metric] - other[0][metric] for mine, other in pairs], drawn)
            ends = {k: cell[k] for k in ("low", "high", "values")}
            differences[key] = {"base": base, "difference": cell["mean"], **ends, "p": two_level(drawn)[1]}
        corrected = holm([c["p"] for c in differences.values()])
        for (key, cell), p in zip(differences.items(), corrected, strict=True):
            rows[key].setdefault("against", {})[metric] = cell | {"p_holm": p}


def _work(records: list[Record]) -> dict[str, Any]:
    """Means over seeds: tokens generated and seconds spent in training, final entropy, learning curve."""
    names = ("tokens", "seconds", "selection_tokens", "preparation_seconds", "entropy", "signal")
    work: dict[str, Any] = {n: _mean([r[n] for r in records]) for n in names if all(n in r for r in records)}
    if all("curve" in r for r in records):
        work["curve"] = mean_curve([r["curve"] for r in records])
    return work


def _robustness(records: list[Record]) -> dict[str, Any]:
    probed = [r["robustness"] for r in records if "robustness" in r]
    if not probed:
        return {}
    return {
        "robustness": {
            probe: {name: _mean([p[probe][name] for p in probed]) for name in ("macro_f1", "clean", "changed")}
            for probe in probed[0]
        }
    }


def _targets(rows: dict[str, Any], curves: dict[str, dict[int, Any]]) -> None:
    """Compare each mean learning curve with the baseline's (development pairs, over the seeds that both have).

    `target`: tokens and seconds until the curve reaches the baseline's final macro-F1. `at_baseline_tokens` and
    `at_baseline_seconds`: its macro-F1 once it has spent as many tokens, or seconds, as the baseline in all.
    """
    for key, own in curves.items():
        seeds = [seed for seed in own if seed in curves.get(BASELINE, {})]
        if seeds:
            curve, base = (mean_curve([by_seed[s] for s in seeds]) for by_seed in (own, curves[BASELINE]))
            last = base[-1]
            before = rows[key]["preparation_seconds"]
            rows[key]["target"] = {"macro_f1": last["macro_f1"], **reached(curve, last["macro_f1"])}
            rows[key]["at_baseline_tokens"] = value_at(curve, "tokens", last["tokens"])
            rows[key]["at_baseline_seconds"] = value_at(curve, "seconds", last["seconds"] - before)


def value_at(curve: list[dict[str, float]], axis: str, spent: float) -> float | None:
    """Macro-F1 of a curve at a given cost, interpolated linearly; None before the curve's first point."""
    if spent < curve[0][axis]:
        return None
    return float(np.interp(spent, [p[axis] for p in curve], [p["macro_f1"] for p in curve]))


def noise(settings: dict[str, Any]) -> dict[str, Any]:
    """Credit rule -> metric -> its difference from the baseline at each rate of flipped verdicts (None: not run).

    Taken from the first setting that has such cells.
    """
    for name, setting in settings.items():
        rules = {
            rule: {
                metric: [
                    setting["rows"].get(f"{rule}_flip{round(100 * flip)}", {}).get("against", {}).get(metric)
                    for flip in (0.0, *FLIPS)
                ]
                for metric in ("macro_f1", "steps_all_right", "right_label_wrong_reasoning")
            }
            for rule in STEP_RULES
        }
        if any(cell for metrics in rules.values() for cells in metrics.values() for cell in cells):
            return {"setting": name, "levels": [0.0, *FLIPS], "rules": rules}
    return {}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
