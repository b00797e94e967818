"""The mistakes of each model: confusion matrix, classes, first errors; and all models by slice."""

from dataclasses import dataclass
from typing import Any

from taosr_she.report.names import MISSING, Names, number

FEW = 30
"""A slice with fewer pairs is marked, because its interval is wide and its value says little."""

SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class HeatCell:
    """A count with its share of the row's pairs in percent."""

    count: int
    share: float
    diagonal: bool


@dataclass(frozen=True)
class Bar:
    """A named count with its share of all in percent."""

    name: str
    count: int
    share: float


@dataclass(frozen=True)
class ModelCard:
    """One model's mistakes."""

    name: str
    colour: str
    predicted: list[str]  # column heads of the matrix
    matrix: list[tuple[str, list[HeatCell]]]  # (true grade, cells)
    classes: list[tuple[str, list[str], str]]  # (grade, [precision, recall, F1] in percent, support)
    labels: list[tuple[str, str, str]]  # (grade, share among the predicted labels, among the true ones) in percent
    first_errors: list[Bar]


@dataclass(frozen=True)
class SliceCell:
    """One model's macro-F1 on one slice, all in percent; `low` and `high` are None without an interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SliceRow:
    """One tag."""

    tag: str
    n: int
    few: bool
    cells: list[SliceCell]


def model_cards(results: dict[str, Any], names: Names) -> list[ModelCard]:
    """One card per model, in the order of the results."""
    codes = results["codes"]
    cards = []
    for name, model in results["models"].items():
        confusion = model.get("confusion") or []
        # The column of malformed responses is shown only if there are any.
        given, true = _shares(confusion)
        width = len(codes) + any(row[-1] for row in confusion if len(row) > len(codes))
        cards.append(
            ModelCard(
                name=names.model(name),
                colour=names.colour(name),
                predicted=[*codes, *["malformed"] * (width - len(codes))],
                matrix=[
                    (names.grade(code), _heat(row[:width], i))
                    for i, (code, row) in enumerate(zip(codes, confusion, strict=False))
                ],
                classes=[
                    (
                        names.grade(code),
                        [_percent(scores.get(k)) for k in SCORES],
                        _count(scores),
                    )
                    for code in codes
                    if (scores := (model.get("per_class") or {}).get(code))
                ],
                labels=[
                    (names.grade(code), _percent(given[i]), _percent(true[i]))
                    for i, code in enumerate(codes)
                    if confusion
                ],
                first_errors=_first_errors(model.get("first_error") or {}, names),
            )
        )
    return cards


def _shares(confusion: list[list[int]]) -> tuple[list[float], list[float]]:
    """Share of each grade among the predicted labels and among the true ones."""
    given = [sum(row[i] for row in confusion) for i in range(len(confusion))]  # without malformed responses
    true = [sum(row) for row in confusion]
    return _of_sum(given), _of_sum(true)


def _of_sum(counts: list[int]) -> list[float]:
    return [n / max(1, sum(counts)) for n in counts]


def _heat(row: list[int], diagonal: int) -> list[HeatCell]:
    total = sum(row)
    return [HeatCell(n, 100 * n / total if total else 0.0, i == diagonal) for i, n in enumerate(row)]


def _first_errors(counts: dict[str, int], names: Names) -> list[Bar]:
    total = sum(counts.values())
    return [
        Bar("All right" if key == "none" else names.step(key), n, 100 * n / total if total else 0.0)
        for key, n in counts.items()
    ]


def _percent(value: Any) -> str:
    share = number(value)
    return MISSING if share is None else f"{share * 100:.1f}"


def _count(scores: dict[str, Any]) -> str:
    support = number(scores.get("support"))
    return MISSING if support is None else f"{support:,.0f}"


def slice_rows(results: dict[str, Any]) -> list[SliceRow]:
    """All tags, the largest first."""
    models = list(results["models"].values())
    sizes: dict[str, int] = {}
    for model in models:
        for tag, scores in (model.get("slices") or {}).items():
            sizes[tag] = max(sizes.get(tag, 0), int(scores["n"]))
    rows = []
    for tag, n in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        cells = []
        for model in models:
            scores = (model.get("slices") or {}).get(tag) or {}
            value, low, high = (number(scores.get(key)) for key in ("macro_f1", "low", "high"))
            cells.append(SliceCell(*(None if v is None else 100 * v for v in (value, low, high))))
        rows.append(SliceRow(tag, n, n < FEW, cells))
    return rows
