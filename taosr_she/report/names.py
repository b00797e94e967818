"""Keys in words: metrics, models, steps, grades; and the colour class that a model keeps on the whole page."""

import math
from dataclasses import dataclass, field
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.report.load import RunData

COLOURS = 6
"""Series colours in `style.css`: classes s0 to s5; baselines share the class `sb`."""

METRICS = {
    "macro_f1": "Macro-F1",
    "good_f1": "Good F1",
    "accuracy": "Accuracy",
    "qwk": "QWK, quadratic weighted kappa",
    "grade_error": "Mean grade error",
    "label_entropy": "Entropy of the predicted labels",
    "steps_all_right": "All steps right",
    "right_label_wrong_reasoning": "Right label, wrong reasoning",
    "wrong_label_right_reasoning": "Wrong label, right reasoning",
    "no_known_error": "No known error",
    "right_label_known_error": "Right label, known error",
    "malformed": "Malformed",
    "ece": "ECE of the label distribution",
    "tier_macro_f1": "Macro-F1 of tiers",
    "tokens_per_second": "Tokens per second",
    "pairs_per_second": "Pairs per second",
    "mean_tokens": "Tokens per response",
}
MODELS = {"sft": "SFT", "grpo": "GRPO", "srpo": "SRPO", "dpo": "DPO", "tfidf": "TF-IDF", "majority": "Majority",
    "minilm": "MiniLM", "cross_encoder": "Cross-encoder",
}  # fmt: skip
MISSING = "–"


@dataclass(frozen=True)
class Names:
    """Names for one run. Without a readable domain, codes and keys are shown instead."""

    grades: dict[str, str] = field(default_factory=dict)  # code -> name
    steps: dict[str, str] = field(default_factory=dict)  # key -> title
    colours: dict[str, str] = field(default_factory=dict)  # model or stage -> CSS class
    domain: Domain | None = None

    def grade(self, code: str | None) -> str:
        """`4 Excellent`; the name is left out if it is the same as the code."""
        if code is None:
            return MISSING
        name = self.grades.get(code, "")
        return code if name in ("", code) else f"{code} {name}"

    def step(self, key: str) -> str:
        return self.steps.get(key) or key.replace("_", " ").capitalize()

    def metric(self, key: str) -> str:
        return METRICS.get(key) or self.step(key.removeprefix("step_"))

    def model(self, name: str) -> str:
        return MODELS.get(name, name)

    def colour(self, name: str) -> str:
        return self.colours.get(name, "sb")


def read_names(run: RunData) -> Names:
    """Names from the recipe's domain; a missing domain file is reported as a gap of the run."""
    grades: dict[str, str] = {}
    steps: dict[str, str] = {}
    domain = None
    if run.recipe.get("domain"):
        try:
            domain = load_domain(run.recipe["domain"]).with_overrides(run.recipe.get("domain_overrides") or {})
            grades = {grade.code: grade.name for grade in domain.labels}
            steps = {step.key: step.title for step in domain.steps}
        except UserError as error:
            run.gaps.append(f"Grades and steps are shown by their codes: {error}.")
    trained = [stage.name for stage in run.stages if stage.kind in ("sft", "rl")]
    models = (run.results or {"models": {}})["models"]
    measured = [name for name in models if not label_only(models[name])]
    names = list(dict.fromkeys(trained + measured))
    return Names(grades, steps, {name: f"s{i % COLOURS}" for i, name in enumerate(names)}, domain)


def label_only(model: dict[str, Any]) -> bool:
    """Whether this is a baseline, which gives a label but writes no response."""
    metrics = model.get("metrics") or {}
    return not any(number(metrics.get(key)) for key in ("mean_tokens", "tokens_per_second"))


def number(value: Any) -> float | None:
    """A finite number, otherwise None: undefined values are null or NaN in files."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def signed(value: float, digits: int = 1) -> str:
    """`+5.1`, `−0.3`, `0.0`, with a true minus sign."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"
