"""The generated part of `docs/results.md`: tables and plots between two markers. The text around it is hand-written."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from taosr_she.base.files import write_text
from taosr_she.bench.marked import marks, write_between
from taosr_she.bench.paper.plots import plot_curves, plot_entropy, plot_noise

MARKS = "paper"
HEAD = "# Results\n\n"

Row = dict[str, Any]


def write_page(results: dict[str, Any], page: Path, folder: Path) -> Path:
    """Write the plots to `folder` and the tables between the markers of `page`. A missing page is created."""
    if not page.is_file():
        write_text(page, HEAD + "\n".join(marks(MARKS)) + "\n")
    name = "quick-" if page.stem.endswith("quick") else ""
    write_between(page, MARKS, "\n\n".join(_body(results, folder, name)))
    return page


def _body(results: dict[str, Any], folder: Path, name: str) -> Iterable[str]:
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    yield (
        f"Produced by `{results['command']}` ({versions}; {results['machine']}). Test split; means over seeds, with "
        f"95% intervals from {results['resamples']:,} bootstrap resamples of seeds and of queries within each seed. "
        'Columns "− GRPO" and "difference" compare a row with GRPO, or with the method named in "compared with". The '
        "p-value to the right comes from the same resamples, after Holm correction within the table."
    )
    for key, setting in results["settings"].items():
        rows = {k: r for k, r in setting["rows"].items() if results["methods"][k]["group"] in ("main", "classic")}
        seeds = sorted({s for r in rows.values() for s in r["seeds"]})
        yield f"## {setting['title']}"
        yield f"{setting['what']} Seeds {', '.join(map(str, seeds))}."
        for title, table in (
            ("Labels", _labels(setting)), ("Reasoning", _reasoning(setting)), ("Robustness", _robustness(setting)),
            ("Cost", _cost()),
        ):  # fmt: skip
            yield f"**{title}**"
            yield _table(results, rows, table)
        chained = {k: r for k, r in rows.items() if "chains" in r}
        if chained:
            yield (
                "**Where labels come from.** Share of pairs for which both, one or neither of the method and GRPO get "
                "every step right. In brackets: how often the method's label and GRPO's label are right on those pairs."
            )
            yield _table(results, chained, _chains())
        curves = {results["methods"][k]["title"]: r["curve"] for k, r in rows.items() if "curve" in r}
        if curves:
            images = (plot_curves(curves, folder / f"{name}{key}-curves.png"),
                      plot_entropy(curves, folder / f"{name}{key}-entropy.png"))  # fmt: skip
            yield f"![Learning curves]({folder.name}/{images[0].name})"
            yield f"![Entropy]({folder.name}/{images[1].name})"
        ablations = {k: r for k, r in setting["rows"].items() if results["methods"][k]["group"] == "ablation"}
        if ablations:
            yield f"### Ablations ({setting['title']})"
            yield _table(results, ablations, _ablation(setting))
    if results["noise"]:
        titles = {rule: results["methods"][rule]["title"] for rule in results["noise"]["rules"]}
        yield "### Noise tolerance of the credit rules"
        yield (
            "Every step has its exact verdict, and the share of verdicts given in the column head is flipped. "
            "Differences from GRPO on the same seeds: macro-F1 / all steps right / right label with wrong reasoning. "
            "The plot shows the intervals."
        )
        yield _noise(results["noise"], titles)
        image = plot_noise(results["noise"], titles, folder / f"{name}noise.png")
        yield f"![Noise tolerance]({folder.name}/{image.name})"
    if results["missing"]:
        yield f"Not run yet: {len(results['missing'])} cells ({results['missing'][0]}, ...)."


Column = tuple[str, Callable[[Row], str]]


def _labels(setting: dict[str, Any]) -> list[Column]:
    return [
        ("macro-F1", _metric("macro_f1")), ("− GRPO", _against("macro_f1")), ("p", _p("macro_f1")),
        ("Good F1", _metric("good_f1", interval=False)), ("accuracy", _metric("accuracy", interval=False)),
        *((f"F1 {code}", _metric(f"f1_{code}", interval=False)) for code in setting["codes"]),
        ("ECE", _metric("ece", interval=False)),
    ]  # fmt: skip


def _reasoning(setting: dict[str, Any]) -> list[Column]:
    wrong = "right_label_wrong_reasoning"
    return [
        *((key, _metric(f"step_{key}", interval=False)) for key in setting["step_keys"]),
        ("all steps right", _metric("steps_all_right")), ("− GRPO", _against("steps_all_right")),
        ("p", _p("steps_all_right")),
        ("right label, wrong reasoning", _metric(wrong)), ("− GRPO", _against(wrong)), ("p", _p(wrong)),
        *(
            (f"all steps right: {tag.replace('_', ' ')}", _metric(f"steps_all_right {tag}", interval=False))
            for tag in setting["slices"]
        ),
    ]  # fmt: skip


def _robustness(setting: dict[str, Any]) -> list[Column]:
    probes: dict[str, Any] = next((r["robustness"] for r in setting["rows"].values() if "robustness" in r), {})
    return [
        *((probe.replace("_", " "), _probe(probe)) for probe in probes),
        *((f"slice: {tag.replace('_', ' ')}", _metric(f"macro_f1 {tag}")) for tag in setting["slices"]),
    ]


def _cost() -> list[Column]:
    return [
        ("tokens", _count("tokens")), ("selection tokens", _count("selection_tokens")), ("seconds", _count("seconds")),
        ("preparation, s", _count("preparation_seconds")), ("groups with signal", _share("signal")),
        ("final entropy", lambda r: f"{r['entropy']:.3f}" if r.get("entropy") is not None else "–"),
        ("tokens to GRPO's level", lambda r: _number(r.get("target", {}).get("tokens"), "target" in r)),
        ("seconds to GRPO's level", lambda r: _number(r.get("target", {}).get("seconds"), "target" in r)),
        ("macro-F1 after GRPO's tokens", _share("at_baseline_tokens")),
        ("macro-F1 after GRPO's seconds", _share("at_baseline_seconds")),
    ]  # fmt: skip


def _chains() -> list[Column]:
    titles = {
        "both": "right in both", "mended": "right only here", "broken": "right only in GRPO",
        "neither": "right in neither",
    }  # fmt: skip

    def column(name: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            chains = row["chains"][name]
            labels = ", ".join(_share(of)(chains) for of in ("label", "base_label"))
            return f"{_share('share')(chains)} ({labels})"

        return cell

    return [(title, column(name)) for name, title in titles.items()]


def _ablation(setting: dict[str, Any]) -> list[Column]:
    wrong = "right_label_wrong_reasoning"
    return [
        ("compared with", lambda r: r.get("against", {}).get("macro_f1", {}).get("base", "–")),
        ("macro-F1", _metric("macro_f1")), ("difference", _against("macro_f1")), ("p", _p("macro_f1")),
        ("all steps right", _metric("steps_all_right", interval=False)), ("difference", _against("steps_all_right")),
        ("right label, wrong reasoning", _metric(wrong, interval=False)), ("difference", _against(wrong)),
        ("entropy", lambda r: f"{r['entropy']:.3f}" if r.get("entropy") is not None else "–"),
    ]  # fmt: skip


def _table(results: dict[str, Any], rows: dict[str, Row], columns: list[Column]) -> str:
    most = max(len(r["seeds"]) for r in rows.values())
    lines = ["| |" + "".join(f" {name} |" for name, _ in columns), "| --- |" + " ---: |" * len(columns)]
    for key, row in rows.items():
        title = results["methods"][key]["title"]
        few = f" ({len(row['seeds'])} of {most} seeds)" if len(row["seeds"]) < most else ""
        lines.append(f"| {title}{few} |" + "".join(f" {cell(row)} |" for _, cell in columns))
    return "\n".join(lines)


def _noise(noise: dict[str, Any], titles: dict[str, str]) -> str:
    lines = [
        "| |" + "".join(f" {level:.0%} |" for level in noise["levels"]),
        "| --- |" + " ---: |" * len(noise["levels"]),
    ]
    for rule, metrics in noise["rules"].items():
        cells = []
        for n in range(len(noise["levels"])):
            differences = [metrics[m][n] for m in ("macro_f1", "steps_all_right", "right_label_wrong_reasoning")]
            cells.append(" / ".join(f"{100 * d['difference']:+.1f}" if d else "–" for d in differences))
        lines.append(f"| {titles[rule]} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines)


def _metric(name: str, interval: bool = True) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        metric = row["metrics"].get(name)
        if metric is None:
            return "–"
        ends = f" [{_points(metric['low'])}, {_points(metric['high'])}]" if interval else ""
        return f"{_points(metric['mean'])}{ends}"

    return cell


def _against(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        test = row.get("against", {}).get(name)
        return f"{100 * test['difference']:+.1f} [{100 * test['low']:+.1f}, {100 * test['high']:+.1f}]" if test else ""

    return cell


def _p(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        test = row.get("against", {}).get(name)
        return f"{test['p_holm']:.3f}" if test else ""

    return cell


def _probe(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        probe = row.get("robustness", {}).get(name)
        if probe is None:
            return "–"
        change = 100 * (probe["macro_f1"] - probe["clean"])
        return f"{_points(probe['macro_f1'])} ({change:+.1f}; {_points(probe['changed'])}% changed)"

    return cell


def _count(name: str) -> Callable[[Row], str]:
    return lambda row: _number(row.get(name), False)


def _share(name: str) -> Callable[[Row], str]:
    return lambda row: "–" if row.get(name) is None else _points(row[name])


def _number(value: float | None, never: bool) -> str:
    """`never`: the row has a learning curve that does not reach the value, as opposed to no curve at all."""
    return ("never" if never else "–") if value is None else f"{value:,.0f}"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"
