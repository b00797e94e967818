"""The generated parts of docs/results.md and of the README about real pairs, each between two markers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from taosr_she.bench.marked import write_between
from taosr_she.bench.real.examined import EXAMINERS
from taosr_she.bench.real.results import REPEATED, STEPS
from taosr_she.bench.real.rows import ROWS
from taosr_she.bench.real.settings import DECISION
from taosr_she.evaluate.metrics import PARTLY

MARKS = "real"
RULE = f"{DECISION['rule']} {DECISION['strength']:g}"
OTHERS = {
    "tfidf": "TF-IDF", "cross_encoder": "the cross-encoder", "grpo": "GRPO", "grpo_own": "GRPO in its own setting",
    "srpo": "SRPO",
}  # fmt: skip
"""Rows that the others are compared with in a table."""
PROBABLE = ("tfidf", "grpo")
"""Those that the others are also compared with by most probable labels."""
IN_SHORT = ("tfidf", "cross_encoder", "labels", "sft", "grpo", "grpo_own", "srpo")
"""Rows of the README's table."""
LABELS = ("macro_f1", "qwk", "accuracy", "grade_error", "ece")
PERCENT = ("macro_f1", "accuracy", "ece", *STEPS, "malformed")
NAMES = {
    "macro_f1": "macro-F1", "qwk": "QWK", "accuracy": "accuracy", "grade_error": "grade error", "ece": "ECE",
    "steps_all_right": "all steps right", "right_label_wrong_reasoning": "right label, wrong reasoning",
    "no_known_error": "no known error", "right_label_known_error": "right label, known error",
    "malformed": "malformed",
}  # fmt: skip


def write_page(results: dict[str, Any], page: Path) -> Path:
    """Write the tables between the markers of `page`."""
    write_between(page, MARKS, "\n\n".join(_body(results)))
    return page


def write_summary(results: dict[str, Any], readme: Path) -> Path:
    """Write one small table of all data sets between the markers of the README."""
    write_between(readme, MARKS, _summary(results["settings"]))
    return readme


def _summary(settings: dict[str, Any]) -> str:
    keys = ("macro_f1", "qwk", "no_known_error")
    heads = [f"{setting['title'].split(' (')[0]}, {NAMES[key]}" for setting in settings.values() for key in keys]
    rows = []
    for row in IN_SHORT:
        cells = []
        for setting in settings.values():
            found = setting["rows"].get(row)
            folds = _partial(found, setting) if found else ""
            metrics = found["metrics"] if found else {}
            cells += [_value(key, metrics[key]) + folds if key in metrics else "–" for key in keys]
        if any(cell != "–" for cell in cells):
            rows.append([ROWS[row].title, *cells])
    people = [setting["people"].get("person_person", {}).get("metrics", {}) for setting in settings.values()]
    cells = [_scale(key)(found[key]) if key in found else "–" for found in people for key in keys]
    return _markdown(["", *heads], [*rows, ["*one person against another*", *cells]])


def _body(results: dict[str, Any]) -> Iterable[str]:
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    yield (
        f"Produced by `{results['command']}` ({versions}; {results['machine']}). Folds by query, pooled: every pair is "
        "in one test fold. The development fold, on which settings were chosen, is not among them. 95% intervals from "
        f"{results['resamples']:,} bootstrap resamples of queries; p-values from the paired bootstrap, after Holm "
        f"correction over the rows. Labels of language models are by rule `{RULE}`; the other rows chose a rule "
        "on their development pairs."
    )
    for name, setting in results["settings"].items():
        yield f"### {setting['title']}"
        yield setting["what"]
        if len(setting["trainings"]) > 1:
            yield (
                "Trained more than once, on "
                f"{_listed(map(str.upper, setting['trainings']))}, and the trainings are pooled: a pair counts once in "
                "each, and intervals resample queries with all that was said of their pairs."
            )
        if any(_partial(row, setting) for row in setting["rows"].values()):
            yield (
                "**Not everything has been run.** A row with folds or processors in its name has been tested on no "
                f"other ones (folds: {_listed(setting['folds'])}), so its numbers are not comparable with those of a "
                "row without. The differences are: they use what both rows were tested on."
            )
        yield _table(setting, LABELS, people=True)
        if _steps(setting):
            yield _table(setting, _steps(setting), people=False)
        if setting["gsrm"]:
            yield from _gsrm(setting["gsrm"], setting)
        for other, named in OTHERS.items():
            if any(other in row["against"] for row in setting["rows"].values()):
                yield f"<details>\n<summary>Differences from {named}</summary>"
                yield _differences(setting, other)
                yield "</details>"
        yield (
            "**Without decision rules**: the most probable label of each pair. A rule chosen on the few queries of a "
            "development split is often a bad one, so a difference that is gone here is one between rules."
        )
        yield _argmax(setting)
        if len(setting["trainings"]) > 1:
            yield "**Each training apart**, to show how far results repeat; QWK of each fold in order."
            yield _apart(setting)
        if name in results["development"]:
            yield "The development fold; settings were chosen on it, so these are hints and not results:"
            yield _table(results["development"][name], (*LABELS, *_steps(results["development"][name])), people=True)


def _partial(row: dict[str, Any], setting: dict[str, Any]) -> str:
    """The folds and trainings of a row, for its name, or "" if it has all."""
    folds, trainings = row["folds"], row["trainings"]
    lacks = [] if folds == setting["folds"] else [f"fold{'s' if len(folds) > 1 else ''} {_listed(folds)}"]
    if trainings != setting["trainings"]:
        lacks.append(_listed(map(str.upper, trainings)))
    return f" ({'; '.join(lacks)})" if lacks else ""


def _listed(folds: Iterable[Any]) -> str:
    return ", ".join(map(str, folds))


def _steps(setting: dict[str, Any]) -> tuple[str, ...]:
    found = dict.fromkeys(key for row in setting["rows"].values() for key in row["metrics"] if key.startswith("step_"))
    return (*found, *STEPS, "malformed") if found else ()


def _table(setting: dict[str, Any], keys: tuple[str, ...], people: bool) -> str:
    def cells(metrics: dict[str, Any]) -> list[str]:
        return [_value(key, metrics[key]) if key in metrics else "–" for key in keys]

    rows = [
        [
            row["title"] + _partial(row, setting),
            *cells(row["metrics"]),
            *_cost(row["seconds"], setting["trainings"]),
        ]
        for row in setting["rows"].values()
        if people or any(key in row["metrics"] for key in keys if key not in ("malformed",))
    ]
    if people:
        for key, name in (
            ("person_person", "one person against another"),
            ("person_final", "one person against the grade"),
        ):
            if key in setting["people"]:
                found = setting["people"][key]
                metrics = {
                    k: {"value": v, "low": found["intervals"][k][0], "high": found["intervals"][k][1]}
                    for k, v in found["metrics"].items()
                }
                rows.append([f"*{name}*", *cells(metrics), "–", "–"])
    head = ["", *(NAMES.get(key, key.replace("step_", "step: ")) for key in keys), "training", "judging"]
    return _markdown(head, rows)


def _gsrm(found: dict[str, Any], setting: dict[str, Any]) -> Iterable[str]:
    yield (
        f"The GSRM{_partial(found, setting)} of the rows above that have one, on {found['responses']:,} responses of "
        "its start to development pairs: right verdicts among the steps of which people or the program know what is "
        "right."
    )
    keys = list(dict.fromkeys(key for one in found["examiners"].values() for key in one))
    rows = [
        [EXAMINERS[name], *(_value(key, metrics[key]) if key in metrics else "–" for key in keys)]
        for name, metrics in found["examiners"].items()
    ]
    yield _markdown(["", *(NAMES.get(key, key.replace("accuracy_", "step: ").replace("_", " ")) for key in keys)], rows)


def _argmax(setting: dict[str, Any]) -> str:
    keys = ("macro_f1", "qwk", "accuracy")
    others = [other for other in PROBABLE if other in setting["rows"]]
    rows = []
    for row in setting["rows"].values():
        cells = [_value(key, row["argmax"][key]) for key in keys]
        for other in others:
            minus = row["argmax_against"].get(other, {})
            cells += [f"{_difference(k, minus[k])}, p {minus[k]['p']:.3f}" if k in minus else "–" for k in keys]
        rows.append([row["title"] + _partial(row, setting), *cells])
    heads = [f"{NAMES[key]}, minus {OTHERS[other]}" for other in others for key in keys]
    return _markdown(["", *(NAMES[key] for key in keys), *heads], rows)


def _differences(setting: dict[str, Any], other: str) -> str:
    compared = {row["title"]: row["against"][other] for row in setting["rows"].values() if other in row["against"]}
    # Of the reasoning only what pairs whose steps are known in part can show: few have all their steps known.
    reasoning = [key for key in PARTLY if any(key in found for found in compared.values())]
    keys = ("macro_f1", "qwk", "accuracy", *reasoning)
    rows = []
    for title, found in compared.items():
        cells = []
        for key in keys:
            one = found.get(key)
            cells += [_difference(key, one), f"{one['p']:.3f}"] if one else ["–", "–"]
        rows.append([title, *cells])
    return _markdown(["", *(head for key in keys for head in (NAMES[key], "p"))], rows)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _scale(key: str) -> Callable[[float], str]:
    percent = key in PERCENT or key.startswith(("step_", "accuracy_", "first_error_"))
    return (lambda x: f"{100 * x:.1f}") if percent else (lambda x: f"{x:.2f}")


def _value(key: str, cell: dict[str, float]) -> str:
    text = _scale(key)
    return f"{text(cell['value'])} [{text(cell['low'])}, {text(cell['high'])}]"


def _difference(key: str, cell: dict[str, float]) -> str:
    percent = key in PERCENT
    low, middle, high = (
        f"{100 * cell[k]:+.1f}" if percent else f"{cell[k]:+.2f}" for k in ("low", "difference", "high")
    )
    return f"{middle} [{low}, {high}]"


def _apart(setting: dict[str, Any]) -> str:
    rows = []
    for row in setting["rows"].values():
        for training, found in row["repeated"].items() if len(row["repeated"]) > 1 else ():
            cells = [_scale(key)(found[key]) if key in found else "–" for key in REPEATED]
            rows.append([row["title"], training.upper(), *cells, " ".join(f"{x:.2f}" for x in found["qwk_of_folds"])])
    names = [NAMES[key] for key in REPEATED]
    return _markdown(["", "trained on", *names, f"QWK, fold {_listed(setting['folds'])}"], rows)


def _cost(seconds: dict[str, dict[str, float]], trainings: list[str]) -> tuple[str, str]:
    """Training and judging of a fold, in the first training that has the row; named if it is not the first of all."""
    training = next(one for one in trainings if one in seconds)
    where = "" if training == trainings[0] else f" ({training.upper()})"
    spent = seconds[training]
    learning = f"{spent['training'] / 60:.1f} min{where}" if spent["training"] else "–"
    return learning, f"{spent['judging']:.0f} s{where}"
