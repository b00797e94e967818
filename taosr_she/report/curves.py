"""Which training curves are drawn, and from which stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from taosr_she.report.load import RunData, StageData
from taosr_she.report.names import Names, number
from taosr_she.report.plots import Chart, Series, line_chart

REWARD = ("reward", "Reward", "share of right labels")
HEALTH = (
    ("signal_share", "Signal", "share of groups with signal"),
    ("entropy", "Entropy", "nats per token"),
    ("label_entropy", "Entropy of the predicted labels", "nats"),
    ("macro_f1", "Macro-F1 of the rollouts", "share"),
    ("kl", "KL to the start", "nats per token"),
    ("length", "Response length", "tokens"),
    ("malformed_rate", "Malformed", "share of rollouts"),
    ("tokens_per_second", "Speed", "generated tokens per second"),
)
GSRM = (
    ("gsrm_agreement", "Agreement with held-out people", "share of steps"),
    ("gsrm_false_pass", "GSRM passes what people call wrong", "share of steps"),
    ("gsrm_high_label_wrong", "GSRM finds no error, label wrong", "share of responses"),
    ("gsrm_drift", "Drift of the GSRM's mean verdict", "change since the first updates"),
)


@dataclass(frozen=True)
class Curves:
    """Panels under their headings, the lines of the shared legend, and what is not drawn, with the reason."""

    groups: list[tuple[str, list[Chart]]]
    legend: list[tuple[str, str]]  # (colour, name)
    left_out: list[str]
    promotions: list[tuple[str, list[tuple[str, int, str]]]]  # (model, (curriculum stage, its last update, why))
    collapses: list[tuple[str, int, str]]  # (model, update, message of the collapse monitor)


def training_curves(run: RunData, names: Names) -> Curves:
    """Reinforcement learning stages overlaid; SFT losses in a separate panel."""
    rl = [stage for stage in run.of_kind("rl") if stage.metrics]
    sft = [stage for stage in run.of_kind("sft") if stage.metrics]
    left_out: list[str] = []
    keys = step_keys(run)
    steps = [(f"reward_{key}", names.step(key), "mean verdict") for key in keys]
    wanted = (("Reward, and reward by step", (REWARD, *steps)), ("Health of the policy", HEALTH))
    groups = []
    for title, panels in wanted:
        charts = [_panel(rl, *panel, "update", names, left_out) for panel in panels] if rl else []
        groups.append((title, [chart for chart in charts if chart]))
    watched = [stage for stage in rl if any("gsrm_agreement" in row for row in stage.metrics)]
    if watched:
        charts = [_panel(watched, *panel, "update", names, left_out) for panel in GSRM]
        groups.append(("GSRM and people", [chart for chart in charts if chart]))
    loss = _panel(sft, "loss", "SFT loss", "nats per response token", "step", names, left_out) if sft else None
    groups.append(("Supervised fine-tuning", [loss] if loss else []))
    legend = [(names.colour(stage.name), names.model(stage.name)) for stage in rl]
    promotions = [(names.model(stage.name), ends) for stage in rl if (ends := _promotions(stage))]
    collapses = [
        (names.model(stage.name), row["step"], str(row["collapse"]))
        for stage in rl
        for row in stage.metrics
        if row.get("collapse")
    ]
    return Curves([(title, charts) for title, charts in groups if charts], legend, left_out, promotions, collapses)


def _promotions(stage: StageData) -> list[tuple[str, int, str]]:
    """Where the stages of a curriculum ended."""
    return [(row["stage"], row["step"], row["stage_ended"]) for row in stage.metrics if row.get("stage_ended")]


def step_keys(run: RunData) -> list[str]:
    """Keys of the K steps: from the results, else from the metrics of a training stage."""
    if run.results:
        return list(run.results["step_keys"])
    return next((keys for stage in run.of_kind("rl") if (keys := own_step_keys(stage))), [])


def own_step_keys(stage: StageData) -> list[str]:
    """Keys of the K steps in the order of a training stage, which may be another than the run's; empty before its
    first update."""
    return [key.removeprefix("reward_") for key in next(iter(stage.metrics), {}) if key.startswith("reward_")]


def _panel(
    stages: Sequence[StageData], key: str, title: str, unit: str, x_name: str, names: Names, left_out: list[str]
) -> Chart | None:
    lines = []
    for stage in stages:
        values = [number(row.get(key)) for row in stage.metrics]
        if any(v is not None for v in values):
            ys = [float("nan") if v is None else v for v in values]
            xs = [row["step"] for row in stage.metrics]
            lines.append(Series(names.model(stage.name), names.colour(stage.name), xs, ys))
    if not lines:
        left_out.append(f"{title} (never recorded)")
        return None
    if key in ("kl", "malformed_rate") and not any(any(y for y in line.ys if y == y) for line in lines):
        left_out.append(f"{title} (zero throughout)")
        return None
    return line_chart(title, unit, x_name, lines, share=unit.startswith(("share", "mean verdict")))
