"""A plot of one metric over training, for documents: mean and range over runs for every training stage."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.report.load import load_run

SMOOTH = 5
"""Number of updates in the moving average."""


def metric_curves(runs: Sequence[Path], metric: str) -> dict[str, np.ndarray]:
    """Training stage -> (runs, updates) of a metric, smoothed and cut to the shortest run. UserError if none has it."""
    series: dict[str, list[list[float]]] = {}
    for folder in runs:
        for stage in load_run(folder).of_kind("rl"):
            values = [float(row[metric]) for row in stage.metrics if row.get(metric) is not None]
            if values:
                series.setdefault(stage.name, []).append(values)
    if not series:
        raise UserError(f"{', '.join(map(str, runs))}: no training stage has the metric '{metric}'")
    return {name: _smoothed([v[: min(map(len, values))] for v in values]) for name, values in series.items()}


def draw_metric(runs: Sequence[Path], metric: str, out: Path) -> None:
    """Write a PNG or SVG (by the ending): a line for each stage, with a band from the lowest to the highest run."""
    curves = metric_curves(runs, metric)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a name is a dollar sign
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, values in curves.items():
        steps = np.arange(1, values.shape[1] + 1)
        (line,) = axes.plot(steps, values.mean(axis=0), label=name)
        if len(values) > 1:
            axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15, lw=0)
    axes.set_xlabel("update")
    axes.set_ylabel(metric.replace("_", " "))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=130)
    pyplot.close(figure)


def _smoothed(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean over the last SMOOTH updates, or over fewer at the start."""
    table = np.asarray(values, dtype=np.float64)
    sums = np.cumsum(np.pad(table, ((0, 0), (SMOOTH, 0))), axis=1)
    counts = np.minimum(np.arange(1, table.shape[1] + 1), SMOOTH)
    return (sums[:, SMOOTH:] - sums[:, :-SMOOTH]) / counts
