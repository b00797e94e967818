"""Build `report.html` of a run folder."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from taosr_she.base.escape import plain
from taosr_she.base.files import write_text
from taosr_she.report.curves import own_step_keys, step_keys, training_curves
from taosr_she.report.examination import examination
from taosr_she.report.glossary import GLOSSARY, term_of
from taosr_she.report.load import RunData, load_run
from taosr_she.report.models import FEW, model_cards, slice_rows
from taosr_she.report.names import Names, label_only, read_names
from taosr_she.report.responses import OUTCOMES, ResponseView, response_view
from taosr_she.report.rollouts import choose_rollouts
from taosr_she.report.scores import Comparisons, columns, comparisons, score_groups

ENVIRONMENT_LINE = ("taosr_she", "python", "torch", "transformers", "gpu", "device", "cpus", "threads", "seed")


def build_report(run_folder: Path) -> Path:
    """Write `report.html` to the run folder, completely or not at all, and return its path. Raises UserError."""
    run = load_run(Path(run_folder))
    names = read_names(run)
    results = run.results
    if results:  # baselines last, because readers look for the trained models
        results["models"] = dict(sorted(results["models"].items(), key=lambda item: label_only(item[1])))
    stage, responses = _responses(run, names)
    environment = Environment(
        loader=PackageLoader("taosr_she.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=shown,
    )  # fmt: skip
    environment.filters["duration"] = duration
    environment.globals["term"] = term_link
    page = environment.get_template("template.html.j2").render(
        run=run,
        names=names,
        results=results,
        environment_line=_environment_line(run.environment),
        columns=columns(run, names),
        scores=score_groups(results, names) if results else [],
        comparisons=comparisons(results, names) if results else Comparisons([], []),
        cards=model_cards(results, names) if results else [],
        slices=slice_rows(results) if results else [],
        few=FEW,
        curves=training_curves(run, names),
        examination=examination(run, names),
        responses=responses,
        responses_stage=stage,
        largest=_largest(responses),
        kinds=[(kind, name, sum(r.kind == kind for r in responses)) for kind, name in OUTCOMES.items()],
        glossary=GLOSSARY,
        slowest=max((s.seconds or 0.0 for s in run.stages), default=0.0),
        total_seconds=sum(s.seconds or 0.0 for s in run.stages),
        style=_text("style.css"),
        script=_text("report.js"),
    )
    target = run.folder / "report.html"
    write_text(target, page)
    return target


def shown(value: Any) -> Any:
    """Filter for every value on the page: makes control characters in texts visible. One that overrides the writing
    direction would reverse the rest of the paragraph. (Autoescape takes care of HTML.)"""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def term_link(key: str, text: str) -> Markup:
    """`text` as a link to the glossary, with the entry as a tooltip; plain text if the glossary has no entry."""
    entry = term_of(key)
    if entry is None:
        return escape(plain(text))
    link = Markup('<a class="term" href="#term-{}" title="{}">{}</a>')
    return link.format(entry.key, f"{entry.name}: {entry.text}", plain(text))


def duration(seconds: float | None) -> str:
    """`48 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return "not finished"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _responses(run: RunData, names: Names) -> tuple[str, list[ResponseView]]:
    """The responses of the last reinforcement learning stage that kept rollouts, and its name."""
    for stage in reversed(run.of_kind("rl")):
        rows = choose_rollouts(stage.folder / "rollouts")
        if rows:
            return names.model(stage.name), [
                response_view(row, own_step_keys(stage) or step_keys(run), names) for row in rows
            ]
        run.gaps.append(f"Stage {stage.name} kept no rollouts.")
    return "", []


def _largest(responses: list[ResponseView]) -> float:
    """The largest absolute advantage shown: full colour."""
    shown = [abs(span.advantage) for response in responses for step in response.steps for span in step.spans]
    return max(shown, default=0.0)


def _environment_line(environment: dict[str, Any]) -> str:
    known = [(key, environment.get(key)) for key in ENVIRONMENT_LINE]
    return " · ".join(f"{key} {value}" for key, value in known if value is not None)


def _text(name: str) -> Markup:
    """A file of this folder, inserted into the page unchanged."""
    return Markup(Path(__file__).with_name(name).read_text("utf-8"))
