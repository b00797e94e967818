"""`taosr-she select`: pairs in, the pairs worth training on out, with a reason for each of the others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from taosr_she.base.config import describe
from taosr_she.base.errors import UserError
from taosr_she.base.overrides import set_value
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import Domain
from taosr_she.domain.malformed import malformed_warning
from taosr_she.examine.store import open_annotations
from taosr_she.examine.verifier import Verifier
from taosr_she.select.config import SelectionConfig
from taosr_she.select.pipeline import select_pairs
from taosr_she.select.report import write_selection
from taosr_she.select.rollouts import malformed_reasons, sample_rollouts


def select_file(
    console: Console, path: Path, out: Path, model: str | None, domain: Domain, annotations: str | None,
    overrides: Sequence[str], layout: str, columns: dict[str, str] | None, device: str,
    encoding: str | None = None, on_part: Callable[[int, int], None] = lambda done, parts: None,
) -> None:  # fmt: skip
    """Write `selected.jsonl`, `dropped.jsonl`, `selection.json` and `selection.md` into `out`.

    Without a model there is no difficulty: only duplicates, diversity and quotas choose. Rollouts are kept in
    `out/rollouts` and reused while pairs, model and sampling stay the same. `on_part(done, parts)` is called while they
    are sampled.
    """
    config = selection_config(overrides)
    if model is None and annotations is not None:
        raise UserError("--annotations examines the steps of rollouts: it needs --model")
    if model is None and config.difficulty != SelectionConfig().difficulty and config.difficulty is not None:
        raise UserError("difficulty is measured on a model's rollouts: give --model, or leave its settings out")
    if model is not None and config.difficulty is None:
        raise UserError("difficulty=null needs no model: leave out --model, or give difficulty its settings")
    out.mkdir(parents=True, exist_ok=True)
    loaded = load_pairs(
        path, domain, layout=layout, columns=columns, require_label=model is not None,
        quarantine=out / "quarantine.jsonl", encoding=encoding,
    )  # fmt: skip
    if not loaded.pairs:
        raise UserError(f"{path}: no usable pair (see {out / 'quarantine.jsonl'})")
    rollouts = None
    if model is not None:
        from taosr_she.model.policy import load_policy

        assert config.difficulty is not None  # checked above
        verifier = Verifier(domain, open_annotations(annotations) if annotations else [])
        policy = load_policy(model, device, "auto")
        rollouts = sample_rollouts(
            policy, domain, loaded.pairs, verifier, config.difficulty, config.seed, out / "rollouts", on_part
        )
        if warning := malformed_warning(malformed_reasons(rollouts)):
            console.print(warning, soft_wrap=True)
    selection = select_pairs(loaded.pairs, rollouts, config)
    report = write_selection(out, loaded.pairs, selection, domain.step_keys)
    console.print(f"{path}: {len(loaded.pairs)} pairs, {len(selection.kept)} stay", highlight=False)
    if loaded.rejected:
        refused = ", ".join(f"{count} {reason}" for reason, count in loaded.counts.items())
        console.print(f"  unusable rows, in {out}/quarantine.jsonl: {refused}", highlight=False)
    for reason, count in report["dropped"].items():
        console.print(f"  {count:>6}  {reason}", highlight=False)
    console.print(f"wrote {out}/selected.jsonl, dropped.jsonl, selection.json, selection.md", highlight=False)


def selection_config(overrides: Sequence[str]) -> SelectionConfig:
    """From `key.sub=value` lines, e.g. `difficulty.pass_low=0.1`. Raises UserError that names the option."""
    raw: dict[str, Any] = {}
    for override in overrides:
        set_value(raw, override, "difficulty.pass_low=0.1")
    try:
        return SelectionConfig.model_validate(raw)
    except ValidationError as error:
        raise UserError(describe(error)) from error
