"""`taosr-she report` and `taosr-she figure`: pages and pictures of runs."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.escape import plain
from taosr_she.commands.paths import path_argument, path_option


def report(run_folder: Annotated[Path, path_argument("Folder of a run.")]) -> None:
    """Rebuild the report.html of a run folder."""
    from taosr_she.report.build import build_report

    print(plain(str(build_report(run_folder))))


def figure(
    runs: Annotated[list[Path], path_argument("Run folders, e.g. of several seeds.")],
    metric: Annotated[
        str, typer.Option(help="A column of metrics.jsonl: entropy, reward, signal_share, ...")
    ] = "reward",
    out: Annotated[Path, path_option("Picture to write: .png or .svg.")] = Path("figure.png"),
) -> None:
    """Plot a metric of the training stages: mean and range over runs."""
    from taosr_she.report.figure import draw_metric

    draw_metric(runs, metric, out)
    print(plain(str(out)))
