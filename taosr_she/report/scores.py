"""The table of models with intervals, and the paired comparisons in words."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from taosr_she.evaluate.metrics import PARTLY, PLAIN
from taosr_she.evaluate.people import ROWS
from taosr_she.report.load import RunData
from taosr_she.report.names import MISSING, Names, label_only, number, signed
from taosr_she.report.plots import interval_mark

LOWER_IS_BETTER = {
    "right_label_wrong_reasoning", "wrong_label_right_reasoning", "right_label_known_error", "malformed", "ece",
    "grade_error",
}  # fmt: skip
NOT_SHARES = {"tokens_per_second", "pairs_per_second", "mean_tokens", "label_entropy", *PLAIN}
NEUTRAL = {"mean_tokens", "tokens_per_second", "pairs_per_second", "label_entropy"}
"""Metrics without a star, because neither more nor less is better: a response may be as long as it needs, speed
depends on the machine as much as on the model, and the entropy of the predicted labels should equal that
of the truth."""
HINTS = {
    **dict.fromkeys(("tokens_per_second", "pairs_per_second"), "of the evaluation, on this machine"),
    **dict.fromkeys(sorted(LOWER_IS_BETTER), "lower is better"),
    "grade_error": "in grades; lower is better",
}
ALPHA = 0.05


@dataclass(frozen=True)
class ScoreCell:
    """One model's value of one metric."""

    text: str
    interval: str  # "[84.4, 88.1]" or empty
    best: bool
    mark: Markup  # small drawing of value and interval, on the scale of all shares


@dataclass(frozen=True)
class Row:
    """One metric of all models."""

    key: str
    name: str
    hint: str  # "lower is better", or how it was measured; or empty
    cells: list[ScoreCell]


@dataclass(frozen=True)
class Column:
    """The head of a model's column."""

    key: str  # the name in the results
    name: str
    detail: str
    colour: str


@dataclass(frozen=True)
class Difference:
    """b minus a on one metric, in percentage points if the metric is a share."""

    text: str  # "+5.1"
    interval: str  # "[+3.0, +7.2]" or empty
    p: str  # "p = 0.004"
    verdict: str  # "better" | "worse" | "no clear difference"


@dataclass(frozen=True)
class Comparisons:
    """Paired differences: a column for every two models, a row for every metric; None if one of them lacks it."""

    titles: list[str]  # "SRPO − GRPO"
    rows: list[tuple[str, str, list[Difference | None]]]  # key and name of the metric; the first row is the headline


def columns(run: RunData, names: Names) -> list[Column]:
    """One column for each model in the results, then one for each human score."""
    kinds = {stage.name: stage for stage in run.stages}
    heads = []
    for name, model in (run.results or {"models": {}})["models"].items():
        stage = kinds.get(name)
        rule = ((stage.settings.get("settings") or {}).get("credit") or {}).get("rule") if stage else None
        detail = "labels only" if label_only(model) else f"credit: {rule}" if rule else "start" if stage else ""
        if model.get("decision", "text") != "text":
            detail += f"{', ' if detail else ''}decision rule {model['decision']}"
        if (model.get("tiers") or {}).get("threshold_scores"):
            detail += f"{', ' if detail else ''}tier threshold {model['tiers']['threshold']:g}"
        heads.append(Column(name, names.model(name), detail, names.colour(name)))
    return heads + [
        Column(key, ROWS[key], f"{found['people']} people, {found['pairs']:,} pairs", "sb")
        for key, found in ((run.results or {}).get("people") or {}).items()
    ]


def score_groups(results: dict[str, Any], names: Names) -> list[tuple[str, list[Row]]]:
    """Rows under their headings; a metric that no model has is left out."""
    steps = [f"step_{key}" for key in results["step_keys"]]
    groups = [
        ("Labels", ["macro_f1", "good_f1", "accuracy", "qwk", "grade_error", "label_entropy", "tier_macro_f1"]),
        (
            "Reasoning",
            [*steps, "steps_all_right", "right_label_wrong_reasoning", "wrong_label_right_reasoning", *PARTLY],
        ),
        ("Form, calibration, speed", ["malformed", "ece", "mean_tokens", "tokens_per_second", "pairs_per_second"]),
    ]
    people = results.get("people") or {}
    rows = [(title, [_row(results["models"], people, key, names) for key in keys]) for title, keys in groups]
    true = (results.get("labels_true") or {}).get("entropy")
    kept = [(title, [_with_truth(row, true) for row in found if row is not None]) for title, found in rows]
    kept.append(("macro-F1 of perturbed pairs", _robustness_rows(results["models"] | people)))
    return [(title, found) for title, found in kept if found]


def _with_truth(row: Row, entropy: float | None) -> Row:
    """Adds the entropy of the true labels, without which that of the predicted ones says little."""
    if row.key != "label_entropy" or entropy is None:
        return row
    return replace(row, hint=f"in nats; {entropy:.2f} for the true ones")


def _robustness_rows(models: dict[str, Any]) -> list[Row]:
    """A row for each probe: macro-F1 under it, the loss, and the share of answers that it changed."""
    found = {name: model.get("robustness") or {} for name, model in models.items()}
    probes = dict.fromkeys(probe for by_probe in found.values() for probe in by_probe)
    return [
        Row(probe, probe.replace("_", " ").capitalize(), "", [_perturbed(by.get(probe)) for by in found.values()])
        for probe in probes
    ]


def _perturbed(cell: dict[str, float] | None) -> ScoreCell:
    if cell is None:
        return ScoreCell(MISSING, "", False, Markup(""))
    lost = signed(100 * (cell["macro_f1"] - cell["clean"]))
    return ScoreCell(f"{100 * cell['macro_f1']:.1f}", f"{lost}; {cell['changed']:.0%} turned", False, Markup(""))


def _row(models: dict[str, Any], people: dict[str, Any], key: str, names: Names) -> Row | None:
    # A baseline writes no response, so having no malformed one is no merit.
    rivals = [name for name, model in models.items() if not (key == "malformed" and label_only(model))]
    return metric_row(models | people, key, _label(key, names), names.colour, [] if key in NEUTRAL else rivals)


def metric_row(
    models: dict[str, Any], key: str, name: str, colour: Callable[[str], str], rivals: Collection[str]
) -> Row | None:
    """One metric of all `models` (name -> `metrics`, `intervals`); None if no model has it. The best of `rivals` is
    marked, unless all are equal."""
    values = {model: number(content["metrics"].get(key)) for model, content in models.items()}
    known = [value for value in values.values() if value is not None]
    if not known:
        return None
    rival = {model: value for model, value in values.items() if value is not None and model in rivals}
    best = (min if key in LOWER_IS_BETTER else max)(rival.values(), default=None)
    marked = len({shown(key, value) for value in rival.values()}) > 1
    bounds = {model: _bounds(content, key) for model, content in models.items()}
    cells = []
    for model, value in values.items():
        if value is None:
            cells.append(ScoreCell(MISSING, "", False, Markup("")))
            continue
        interval, mark = "", Markup("")
        if bound := bounds[model]:
            interval = f"[{shown(key, bound[0])}, {shown(key, bound[1])}]"
            mark = Markup("") if key in NOT_SHARES else interval_mark(value, bound, colour(model))
        is_best = marked and model in rival and best is not None and shown(key, value) == shown(key, best)
        cells.append(ScoreCell(shown(key, value), interval, is_best, mark))
    return Row(key, name, HINTS.get(key, ""), cells)


def shown(key: str, value: float) -> str:
    """Shares in percent with one decimal, other numbers unchanged."""
    if key == "tokens_per_second":
        return f"{value:,.0f}"
    if key == "pairs_per_second":
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if key in PLAIN or key == "label_entropy":
        return f"{value:.2f}"
    return f"{value:.1f}" if key in NOT_SHARES else f"{value * 100:.1f}"


def _bounds(model: dict[str, Any], key: str) -> tuple[float, float] | None:
    low, high = (model.get("intervals") or {}).get(key) or (None, None)
    low, high = number(low), number(high)
    return None if low is None or high is None else (low, high)


def comparisons(results: dict[str, Any], names: Names) -> Comparisons:
    """The paired comparisons, models and metrics in the order of the results."""
    differences = {((row["a"], row["b"]), row["metric"]): _difference(row) for row in results.get("paired") or []}
    pairs = list(dict.fromkeys(pair for pair, _ in differences))
    metrics = list(dict.fromkeys(metric for _, metric in differences))
    return Comparisons(
        [f"{names.model(b)} − {names.model(a)}" for a, b in pairs],
        [(metric, _label(metric, names), [differences.get((pair, metric)) for pair in pairs]) for metric in metrics],
    )


def _label(key: str, names: Names) -> str:
    return f"Step: {names.metric(key)}" if key.startswith("step_") else names.metric(key)


def _difference(row: dict[str, Any]) -> Difference | None:
    difference, low, high, p = (number(row.get(field)) for field in ("difference", "low", "high", "p"))
    if difference is None:
        return None
    scale, digits = (1, 2) if row["metric"] in PLAIN else (100, 1)
    text = signed(difference * scale, digits)
    if low is None or high is None:
        return Difference(text, "", _p_words(p), "no interval")
    verdict = "no clear difference"
    if low > 0 or high < 0:
        verdict = "better" if (difference > 0) != (row["metric"] in LOWER_IS_BETTER) else "worse"
    return Difference(text, f"[{signed(low * scale, digits)}, {signed(high * scale, digits)}]", _p_words(p), verdict)


def _p_words(p: float | None) -> str:
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < ALPHA else f"p = {p:.2f}"
