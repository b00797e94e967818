"""Plots of the paper's page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Curves = Mapping[str, Sequence[Mapping[str, float]]]

COLOURS = (
    "#222222", "#999999", "#4477aa", "#66ccee", "#228833", "#ccbb44", "#aa3377", "#ee6677", "#ee7733", "#0077bb",
)  # fmt: skip


def plot_curves(curves: Curves, path: Path) -> Path:
    """macro-F1 and all steps right on development pairs, over generated tokens (selection included)."""
    plt = _pyplot()
    figure, both = plt.subplots(1, 2, figsize=(13, 4.2), layout="constrained")
    for axes, key, title in zip(both, ("macro_f1", "steps_all_right"), ("macro-F1", "all steps right"), strict=True):
        for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
            tokens = [p["tokens"] / 1000 for p in curve]
            axes.plot(tokens, [100 * p[key] for p in curve], label=name, color=colour, lw=_width(name))
        axes.set(title=title, xlabel="generated tokens, thousands", ylabel="development pairs, %")
        axes.grid(alpha=0.25)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return _save(figure, path)


def plot_entropy(curves: Curves, path: Path) -> Path:
    """Entropy of the policy on its training pairs over updates."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot([p["step"] for p in curve], [p["entropy"] for p in curve], label=name, color=colour, lw=_width(name))
    axes.set(xlabel="update", ylabel="entropy, nats a token")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, ncols=2)
    return _save(figure, path)


def plot_noise(noise: dict[str, Any], titles: Mapping[str, str], path: Path) -> Path:
    """Difference between each credit rule and GRPO, which reads no verdicts, when verdicts are flipped."""
    plt = _pyplot()
    names = {
        "macro_f1": "macro-F1", "steps_all_right": "all steps right",
        "right_label_wrong_reasoning": "right label, wrong reasoning",
    }  # fmt: skip
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for axes, (key, title) in zip(panels, names.items(), strict=True):
        for (rule, metrics), colour in zip(noise["rules"].items(), COLOURS[2:], strict=False):
            known = [(100 * x, cell) for x, cell in zip(noise["levels"], metrics[key], strict=True) if cell]
            if known:
                means = [100 * c["difference"] for _, c in known]
                ends = [
                    [100 * (c["difference"] - c["low"]) for _, c in known],
                    [100 * (c["high"] - c["difference"]) for _, c in known],
                ]
                axes.errorbar([x for x, _ in known], means, ends, label=titles[rule], color=colour, capsize=2,
                              marker="o", ms=3, lw=_width(titles[rule]))  # fmt: skip
        axes.axhline(0, color=COLOURS[0], lw=1.2)
        axes.set(title=title, xlabel="flipped verdicts, %", ylabel="difference from GRPO, points")
        axes.grid(alpha=0.25)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return _save(figure, path)


def _width(name: str) -> float:
    return 2.2 if name in ("GRPO", "SRPO", "full system") else 1.2


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)
    return path
