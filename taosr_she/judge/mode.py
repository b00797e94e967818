"""The two modes of judging: `reason` writes steps and label, `label` reads the label distribution alone."""

from typing import Literal

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain

Mode = Literal["reason", "label"]


def check_mode(domain: Domain, mode: str) -> Mode:
    """The mode. UserError for an unknown one, and for mode `label` with a domain whose label step is not the first."""
    if mode not in ("reason", "label"):
        raise UserError(f"mode '{mode}': expected reason or label")
    if mode == "label" and domain.label_step != 0:
        before = domain.label_step
        raise UserError(
            f"mode 'label' needs a domain with the label step first; in '{domain.name}', {before} "
            f"step{'s come' if before > 1 else ' comes'} before it: train with `answer_first: true`, or distil a "
            "student from this model (docs/label-mode.md)"
        )
    return "label" if mode == "label" else "reason"
