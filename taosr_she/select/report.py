"""The filter report: why pairs went, with examples, and what the set looked like before and after."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import Any

from taosr_she.base.escape import code
from taosr_she.base.escape import markdown as escaped
from taosr_she.base.files import write_json, write_jsonl, write_text
from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair
from taosr_she.select.difficulty import REASONS, Decision
from taosr_she.select.pipeline import Selection

SELECTED = "selected.jsonl"
"""The pairs that stay."""
EXAMPLES = 3
"""Examples of each reason."""
SHOWN_TEXT = 120
"""Characters of a query or title that an example shows."""
TENTHS = 10


def selection_report(pairs: Sequence[Pair], selection: Selection, step_keys: Sequence[str]) -> dict[str, Any]:
    """Flat data for `selection.json`; parts that there is nothing to say about are absent."""
    decisions = selection.decisions
    kept = [d for d in decisions if d.reason is None]
    by_id = {p.pair_id: p for p in pairs}
    report: dict[str, Any] = {
        "pairs": len(pairs),
        "kept": len(kept),
        "dropped": dict(Counter(d.reason for d in decisions if d.reason).most_common()),
        "examples": {
            reason: [_example(by_id, d) for d in decisions if d.reason == reason][:EXAMPLES]
            for reason in REASONS
            if any(d.reason == reason for d in decisions)
        },
        "labels": _before_after(
            Counter(p.label or "none" for p in pairs), Counter(p.label or "none" for p in selection.kept)
        ),
    }
    tags = Counter(tag for p in pairs for tag in p.tags)
    if tags:
        report["tags"] = _before_after(tags, Counter(tag for p in selection.kept for tag in p.tags))
    if any(d.difficulty for d in decisions):
        report["pass_rate"] = _before_after(_pass_rates(decisions), _pass_rates(kept))
        report["means"] = {"before": _means(decisions, step_keys), "after": _means(kept, step_keys)}
    if selection.quotas:
        report["quotas"] = {name: list(counts) for name, counts in selection.quotas.items()}
    report["settings"] = selection.config.model_dump(mode="json")
    return report


def write_selection(
    folder: Path, pairs: Sequence[Pair], selection: Selection, step_keys: Sequence[str]
) -> dict[str, Any]:
    """Write `selected.jsonl`, `dropped.jsonl` (with reasons), `selection.json` and `selection.md`; the report."""
    report = selection_report(pairs, selection, step_keys)
    write_pairs(folder / SELECTED, selection.kept)
    dropped = [
        {"pair_id": pair.pair_id, "query": pair.query, "title": pair.product.title, "reason": d.reason} | _known(d)
        for pair, d in zip(pairs, selection.decisions, strict=True)
        if d.reason is not None
    ]
    write_jsonl(folder / "dropped.jsonl", dropped)
    write_json(folder / "selection.json", report)
    write_text(folder / "selection.md", markdown(report))
    return report


def markdown(report: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = ["# Selection", "", f"{report['kept']:,} of {report['pairs']:,} pairs stay.", ""]
    if report["dropped"]:
        lines += ["## Why pairs went", "", "| reason | pairs | meaning |", "| --- | ---: | --- |"]
        lines += [f"| {reason} | {count:,} | {REASONS[reason]} |" for reason, count in report["dropped"].items()]
        lines.append("")
        for reason, examples in report["examples"].items():
            lines += [f"Examples of *{reason}*:", ""]
            lines += [f"- {_sentence(example)}" for example in examples] + [""]
    else:
        lines += ["No pair went.", ""]
    for key, title in (("labels", "Labels"), ("pass_rate", "Pass rates"), ("tags", "Slices")):
        if key in report:
            lines += [
                f"## {title}",
                "",
                f"| {title.lower()} | before | after | share that stays |",
                "| --- | ---: | ---: | ---: |",
            ]
            for name, (before, after) in report[key].items():
                share = f"{after / before:.0%}" if before else "–"
                lines.append(f"| {escaped(name)} | {before:,} | {after:,} | {share} |")
            lines.append("")
    if "quotas" in report:
        lines += ["## Quotas", "", "| quota | set aside | stay |", "| --- | ---: | ---: |"]
        lines += [f"| {escaped(name)} | {asked:,} | {got:,} |" for name, (asked, got) in report["quotas"].items()] + [
            ""
        ]
    if "means" in report:
        lines += ["## Means over pairs", "", "| | before | after |", "| --- | ---: | ---: |"]
        after = report["means"]["after"]
        lines += [
            f"| {escaped(name)} | {value:.3f} | {_shown(after.get(name))} |"
            for name, value in report["means"]["before"].items()
        ]
        lines.append("")
    lines += [
        "## Settings",
        "",
        *(f"- {code(key)} = {escaped(str(value))}" for key, value in _flat(report["settings"])),
        "",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """As the command line takes them: `("diversity.budget", 0.5)`."""
    found = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(prefix + key, value)]
    return [(key, "null" if value is None else value) for key, value in found]


def _known(decision: Decision) -> dict[str, Any]:
    """What a decision rests on, as far as it is known."""
    known: dict[str, Any] = {}
    if decision.difficulty:
        known["pass_rate"] = round(decision.difficulty.pass_rate, 3)
    if decision.duplicate_of is not None:
        known["duplicate_of"] = decision.duplicate_of
    return known


def _example(by_id: Mapping[str, Pair], decision: Decision) -> dict[str, Any]:
    pair = by_id[decision.pair_id]
    example = {"pair_id": pair.pair_id, "query": pair.query, "title": pair.product.title, "label": pair.label}
    example |= _known(decision)
    if decision.duplicate_of is not None:
        example["duplicate_title"] = by_id[decision.duplicate_of].product.title
    return example


def _sentence(example: Mapping[str, Any]) -> str:
    """One line, whatever the texts hold: queries and titles are data, and no HTML or mark of Markdown."""
    query, title = (_short(example[key]) for key in ("query", "title"))
    parts = [f'{code(example["pair_id"])} "{query}" with "{title}"']
    if example["label"]:
        parts.append(f"label {escaped(example['label'])}")
    if "pass_rate" in example:
        parts.append(f"pass rate {example['pass_rate']:.2f}")
    if "duplicate_of" in example:
        parts.append(f'as {code(example["duplicate_of"])} "{_short(example["duplicate_title"])}"')
    return ", ".join(parts)


def _short(text: str) -> str:
    return escaped(shorten(text, SHOWN_TEXT, placeholder=" …"))


def _before_after(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[int]]:
    return {name: [before[name], after.get(name, 0)] for name in sorted(before)}


def _pass_rates(decisions: Sequence[Decision]) -> Counter[str]:
    """Tenths of the pass rate; 0 and 1 by themselves, because these are the pairs without outcome signal."""
    found: Counter[str] = Counter()
    for d in decisions:
        if d.difficulty:
            rate = d.difficulty.pass_rate
            tenth = min(int(rate * TENTHS), TENTHS - 1)
            found[
                "0" if rate == 0 else "1" if rate == 1 else f"{tenth / TENTHS:.1f} to {(tenth + 1) / TENTHS:.1f}"
            ] += 1
    return found


def _means(decisions: Sequence[Decision], step_keys: Sequence[str]) -> dict[str, float]:
    known = [d.difficulty for d in decisions if d.difficulty]
    if not known:
        return {}
    means = {
        "pass rate": fmean(d.pass_rate for d in known),
        "share with outcome signal": fmean(d.outcome_signal for d in known),
        "share with step signal": fmean(d.step_signal for d in known),
        "path entropy, nats": fmean(d.path_entropy for d in known),
    }
    for k, key in enumerate(step_keys):
        rates = [d.step_rates[k] for d in known if not math.isnan(d.step_rates[k])]
        if rates:
            means[f"step {key} right"] = fmean(rates)
    return means
