"""The list of credit rules, by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taosr_she.base.import_path import check_call, import_named, is_import_path

if TYPE_CHECKING:
    from torch import Tensor

    from taosr_she.credit.config import CreditConfig

    Rule = Callable[[CreditConfig, Tensor, Tensor, Tensor, int], Tensor]

RULES = {
    "outcome": "taosr_she.credit.outcome:outcome",
    "scalar": "taosr_she.credit.scalar:scalar",
    "process": "taosr_she.credit.process:process",
    "pivot": "taosr_she.credit.pivot:pivot",
    "mask": "taosr_she.credit.mask:mask",
    "token_penalty": "taosr_she.credit.token_penalty:token_penalty",
    "min_form": "taosr_she.credit.min_form:min_form",
    "srpo": "taosr_she.credit.srpo:srpo",
}
"""Rule name -> import path of `(config, verdicts (B, K), outcomes (B,), groups (B,), label_step) -> advantages (B, K)`.

These are paths and not functions, because a recipe must be checked without importing torch."""
ARGUMENTS = ("config", "verdicts", "outcomes", "groups", "label_step")


def find_rule(name: str) -> "Rule":
    """The function for a name in RULES or an import path. Raises a one-line ValueError for anything else."""
    if name not in RULES and not is_import_path(name):
        raise ValueError(f"'{name}' is none of {', '.join(RULES)}, and no import path such as my_package.rules:my_rule")
    rule: Any = import_named(RULES.get(name, name))
    check_call(name, rule, ARGUMENTS)
    return rule  # type: ignore[no-any-return]
