"""The model card of a checkpoint, `README.md` next to the weights: what the model is, its origin, quality and use.

Plain facts of the run, nothing else. Settings are read from the run folder's `recipe.yaml`, where secrets are masked,
and of paths the card keeps the last name: a checkpoint travels. It is written when its stage ends, and again when the
model has been measured.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from taosr_she import __version__
from taosr_she.base.escape import code, markdown
from taosr_she.base.files import write_text
from taosr_she.base.strict_yaml import dump_yaml
from taosr_she.domain.domain import Domain
from taosr_she.model.domain_file import DOMAIN_FILE
from taosr_she.model.folder import ADAPTER_FILE, BASE_FILE
from taosr_she.model.names import BOXED, TINY
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.plan import PlannedStage
from taosr_she.recipe.stages.evaluate import LABEL_ROW, EvaluateStage
from taosr_she.recipe.table import metric_name, metric_text, table_metrics

CARD = "README.md"
"""Its name in the checkpoint. It is not part of the model: it may be edited, and changes when the model is measured."""

DATA = "data"
"""The option that names a stage's data; only a model that was not trained has none."""
SHOWN = ("step", "loss", "reward", "accuracy", "signal_share", "malformed_rate", "entropy", "kl", "tokens")
"""Columns of the last row of metrics that are shown in the card."""


def write_card(recipe: Recipe, domain: Domain, planned: PlannedStage, summary: Mapping[str, Any]) -> None:
    """Write the card of a stage's checkpoint, if it has one; for an evaluation, the cards of the measured models."""
    stages = recipe.folder / "stages"
    if planned.stage.checkpoint_is and (stages / planned.name / "checkpoint").is_dir():
        _write(recipe, domain, planned.name, {"fingerprint": planned.fingerprint, "summary": summary})
    measured = [row.stage for row in planned.stage.rows] if isinstance(planned.stage, EvaluateStage) else []
    for name in dict.fromkeys(measured):
        if recipe.stages[name].checkpoint_is:
            _write(recipe, domain, name, _read(stages / name / "stage.json"))


def _write(recipe: Recipe, domain: Domain, name: str, record: Mapping[str, Any]) -> None:
    path = recipe.folder / "stages" / name / "checkpoint" / CARD
    write_text(path, model_card(recipe, recipe.domain_of(name, domain), name, record))


def model_card(recipe: Recipe, domain: Domain, name: str, record: Mapping[str, Any]) -> str:
    """The card of the checkpoint of stage `name`; `record` has the stage's `fingerprint` and `summary`."""
    written = yaml.safe_load((recipe.folder / "recipe.yaml").read_text("utf-8"))["stages"]
    settings: dict[str, Any] = written[name]
    kind = settings["kind"]
    base = base_model(written, name)
    stage = recipe.stages[name]
    is_policy = stage.offers == "checkpoint"
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if kind == "scalar_reward_model" else "text-generation",
        "tags": ["taosr-she", "search-relevance", kind],
    }
    if base in BOXED:
        head["base_model"] = BOXED[base].original
    elif base != TINY and not Path(base).exists():  # a name on the hub
        head["base_model"] = base
    rule = ((settings.get("settings") or {}).get("credit") or {}).get("rule")
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {markdown(recipe.name)}: {markdown(name)}",
        f"This is {stage.checkpoint_is}{f', credit rule {code(rule)}' if rule else ''}. It was "
        f"{'trained' if DATA in settings else 'saved'} with TaoSR-SHE {__version__} (stage {code(name)} of recipe "
        f"{code(recipe.name)}, seed {recipe.seed}, fingerprint {code(str(record.get('fingerprint', 'unknown')))}).",
        *_task(domain),
        *_use(recipe.folder / "stages" / name / "checkpoint", domain, is_policy, kind),
        *_training(recipe, written, name, base, record),
        *_measured(recipe.folder / "stages", name),
        *_limits(written, settings, base),
    ]
    return "\n\n".join(parts) + "\n"


def base_model(stages: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The origin of a stage's weights: a short name of ours, a folder, or a hub name."""
    while stages[name].get("start"):
        name = stages[name]["start"]
    return str(stages[name]["model"])


def _task(domain: Domain) -> Iterator[str]:
    yield "## What it judges"
    grade, rest = f"one of {len(domain.labels)} grades", len(domain.steps) - 1
    order = f"{len(domain.steps)} steps, then {grade}" if domain.label_step else f"{grade}, then {rest} steps"
    yield (
        f"Whether a product answers a query, in the domain {code(domain.name)}: "
        f"{order if rest else f'{grade}, without reasoning'}."
    )
    grades = [
        f"| {markdown(one.code)} | {markdown(one.name)} | {good} | {markdown(one.meaning)} |"
        for one in domain.labels
        for good in ("yes" if one.good else "no",)
    ]
    yield "\n".join(["| grade | name | good result | meaning |", "| --- | --- | --- | --- |", *grades])
    steps = [f"{i}. {code(f'[{step.key}]')} {markdown(step.title)}" for i, step in enumerate(domain.steps, start=1)]
    yield "\n".join(steps)


def _use(checkpoint: Path, domain: Domain, is_policy: bool, kind: str) -> Iterator[str]:
    yield "## How to use it"
    if kind == "scalar_reward_model":
        yield (
            "It is an `AutoModelForSequenceClassification` with one label, and examines whole responses in a recipe: "
            "`examination: {mode: scalar_reward_model, scalar_reward_model: <this stage>}`."
        )
        return
    own = (checkpoint / DOMAIN_FILE).is_file()  # else the run folder's, three floors up
    place = DOMAIN_FILE if own else f"../../../{DOMAIN_FILE}"
    option = "" if own else f" --domain {place}"
    if not is_policy:
        yield "It examines the responses of another model, one verdict a step. In this folder:"
        yield f"```bash\ntaosr-she examine responses.jsonl --gsrm . --out examined.jsonl{option}\n```"
        return
    yield "In this folder, for a file of pairs (`query`, `title`, ...):"
    yield f"```bash\ntaosr-she judge . pairs.jsonl --out judged.jsonl{option}\n```"
    yield "In Python:"
    domain_argument = "" if own else f', domain="{place}"'
    yield f"""```python
from taosr_she import load_judge

judge = load_judge("."{domain_argument})
answer = judge({{"query": "red boots", "title": "Norvik trail boots, red"}})
print(answer.label, answer.probabilities, answer.expected_grade, answer.response)
```"""
    opens = "opens with `AutoModelForCausalLM.from_pretrained` and vLLM as any other"
    if (checkpoint / ADAPTER_FILE).is_file():
        opens = (
            f"is a LoRA adapter: `peft.PeftModel.from_pretrained(base, folder)` opens it, and `{BASE_FILE}` says where "
            "its base model is"
        )
    yield (
        f"The folder {opens}. The prompt matters: it is "
        f"made from the domain (`{place}`), which holds the label scale, the steps and the rules the model has seen."
    )


def _training(
    recipe: Recipe, stages: Mapping[str, Mapping[str, Any]], name: str, base: str, record: Mapping[str, Any]
) -> Iterator[str]:
    settings = stages[name]
    yield "## What it was trained on"
    if DATA not in settings:
        yield f"Nothing in this run: {_last_name(base)} as it was found."
        return
    data = stages[settings[DATA]]
    facts = _read(recipe.folder / "stages" / settings[DATA] / "stage.json")
    source = (
        "the embedded market, which is synthetic"
        if data["kind"] == "market"
        else _last_name(data["path"] if "path" in data else data["kind"])
    )
    sizes = ", ".join(
        f"{value:,} {key.replace('_', ' ')}"
        for key, value in (facts.get("summary") or {}).items()
        if isinstance(value, int) and value
    )
    start = settings.get("start")
    rows = [
        ("base model", "a tiny model with random weights" if base == TINY else _last_name(base)),
        ("start", f"stage {code(start)}" if start else "the base model"),
        ("pairs", source),
        ("sizes", markdown(sizes)),
        ("fingerprint of the data", code(str(facts.get("fingerprint", "unknown")))),
        *((key.replace("_", " "), _shown(value)) for key, value in (record.get("summary") or {}).items()),
    ]
    yield "\n".join(["| | |", "| --- | --- |", *(f"| {markdown(key)} | {value} |" for key, value in rows if value)])
    last = _last_row(recipe.folder / "stages" / name / "metrics.jsonl")
    numbers = {key: last[key] for key in SHOWN if isinstance(last.get(key), int | float)}
    if numbers:
        yield "Last step of training: " + ", ".join(f"{markdown(k)} {v:.4g}" for k, v in numbers.items()) + "."
    text = dump_yaml(dict(settings)).rstrip()
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield f"All settings of the stage:\n\n{fence}yaml\n{text}\n{fence}"


def _measured(stages: Path, name: str) -> Iterator[str]:
    yield "## How good it is"
    found = list(_results(stages, name))
    yield from found or ["It was not measured in this run."]


def _results(stages: Path, name: str) -> Iterator[str]:
    for path in sorted(stages.glob("*/results.json")):
        results = _read(path)
        for row, without in ((name, ""), (f"{name}{LABEL_ROW}", ", in mode `label`")):
            model = (results.get("models") or {}).get(row)
            if not model:
                continue
            of = f"{results['pairs']:,} pairs of the {results['split']} split{without}"
            rule = model.get("decision", "text")
            how = "" if rule == "text" else f" (decision rule {code(rule)}, see `decision.json`)"
            yield f"On {of}, shares in percent, with 95% intervals over queries{how}:"
            metrics = table_metrics(results["step_keys"])
            yield _table(model["metrics"], model["intervals"], {key: metric_name(key) for key in metrics})
    gsrm = (_read(stages / name / "examiners.json").get("examiners") or {}).get("gsrm")
    if gsrm:
        yield "Against the verdicts of held-out people, in percent, with 95% intervals over pairs:"
        yield _table(gsrm["metrics"], gsrm["intervals"], {key: key.replace("_", " ") for key in gsrm["metrics"]})
    seen = _last_row(stages / name / "watch.jsonl")
    if seen:
        shares = {k: v for k, v in seen.items() if k not in ("step", "tokens", "seconds")}
        yield f"On the development pairs that were watched, after update {seen['step']}, in percent:"
        yield _table(shares, {}, {key: key.replace("_", " ") for key in shares})


def _table(metrics: Mapping[str, Any], intervals: Mapping[str, Sequence[Any]], names: Mapping[str, str]) -> str:
    lines = ["| metric | value | 95% interval |", "| --- | ---: | --- |"]
    for key, name in names.items():
        value, (low, high) = metrics.get(key), intervals.get(key) or (None, None)
        if value is not None:
            between = "" if low is None or high is None else f"{metric_text(key, low)} to {metric_text(key, high)}"
            lines.append(f"| {markdown(name)} | {metric_text(key, value)} | {between} |")
    return "\n".join(lines)


def _limits(stages: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], base: str) -> Iterator[str]:
    yield "## Limits"
    trained = DATA in settings
    lines = [
        "It was trained for one label scale, one order of steps and one prompt; in another domain it is worth nothing."
        if trained
        else "It was not trained for this domain: it knows labels and steps from the prompt alone.",
        "A response that does not keep to the form is malformed and has no label. Count those first.",
        "Its reasoning is text that went with right answers in training. A right label can come out of a wrong step.",
    ]
    if trained and stages[settings[DATA]]["kind"] == "market":
        lines.append("Its pairs are synthetic: few words, made-up brands. It knows nothing of real products.")
    elif trained:
        lines.append("Languages, categories and habits of labelling other than those of its pairs were not tried.")
    if base == TINY:
        lines.append("It has no pretraining: every word it knows is from these pairs.")
    yield "\n".join(f"- {line}" for line in lines)


def _last_name(path: str) -> str:
    """A hub name unchanged; for a path on this machine, its last part."""
    return code(Path(path).name if Path(path).exists() or Path(path).is_absolute() else path)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None or not isinstance(value, int | float | str):
        return ""
    return markdown(f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value)


def _last_row(path: Path) -> dict[str, Any]:
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return json.loads(lines[-1]) if lines else {}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
