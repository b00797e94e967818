"""The list of rules, and rules of somebody else's."""

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.credit.advantages import step_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.credit.rules import RULES, find_rule

VERDICTS = torch.tensor([[1.0, 0.0, torch.nan], [1.0, 1.0, 1.0]])
BATCH = (VERDICTS, torch.tensor([0, 1]), torch.tensor([7, 7]), 2)


@pytest.fixture(autouse=True)
def own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_rules.py").write_text(
        "def right(config, verdicts, outcomes, groups, label_step):\n"
        "    return config.step_weight * verdicts.nan_to_num(0.0)\n"
        "def narrow(config, verdicts, outcomes, groups, label_step):\n    return outcomes\n"
        "def raw(config, verdicts, outcomes, groups, label_step):\n    return verdicts\n"
        "def nothing(config, verdicts, outcomes, groups, label_step):\n    pass\n"
        "def short(verdicts, outcomes):\n    return verdicts\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rules", raising=False)


@pytest.mark.parametrize("name", RULES)
def test_every_name_is_a_rule_of_the_file_of_its_name(name: str) -> None:
    assert CreditConfig(rule=name).rule == name
    assert (find_rule(name).__module__, find_rule(name).__name__) == (f"taosr_she.credit.{name}", name)


def test_a_rule_by_import_path_is_used_with_the_settings() -> None:
    config = CreditConfig(rule="own_rules:right", step_weight=0.5)
    assert step_advantages(config, *BATCH).tolist() == [[0.5, 0, 0], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("narrow", r"own_rules:narrow: returned \(2,\), expected a tensor of shape \(2, 3\)"),
        ("nothing", r"own_rules:nothing: returned NoneType, expected a tensor of shape \(2, 3\)"),
        ("raw", "own_rules:raw: returned numbers that are not finite"),
    ],
)
def test_what_a_rule_returns_is_checked(rule: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        step_advantages(CreditConfig(rule=f"own_rules:{rule}"), *BATCH)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("srpoo", "'srpoo' is none of outcome, scalar, .*, srpo, and no import path"),
        ("own_rules:short", r"cannot be called as \(config, verdicts, outcomes, groups, label_step\): too many"),
        ("own_rules:long", "the module has no 'long'; it has right, narrow"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_settings(rule: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CreditConfig(rule=rule)
