"""An examiner of somebody else's is held to the contract of verdicts."""

import sys
from pathlib import Path

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.examine.foreign import Foreign, examiner_class
from taosr_she.examine.verdicts import CODE

DOMAIN = load_domain("taobao")
PAIRS = [Pair("1", "q", "red boots", Product("boots"))]
CODE_OF_OTHERS = """
import numpy as np
from taosr_she.examine.verdicts import CODE, Verdicts


class Fixed:
    def __init__(self, domain, value=1.0, source="machine", rows=1):
        self.shape, self.value, self.source = (rows, len(domain.steps)), value, source

    def examine(self, pairs, responses):
        return Verdicts(np.full(self.shape, self.value), np.full(self.shape, CODE[self.source]))


class Careless(Fixed):
    def examine(self, pairs, responses):
        return [1.0]


class Deaf(Fixed):
    def examine(self, pairs):
        return None


def factory(domain):
    return Fixed(domain)
"""


@pytest.fixture(autouse=True)
def own_examiners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_examiners.py").write_text(CODE_OF_OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_examiners", raising=False)


def test_its_verdicts_come_through() -> None:
    found = Foreign("own_examiners:Fixed", {"value": 0.25}, DOMAIN).examine(PAIRS, [parse_response(DOMAIN, "x")])
    assert found.values.dtype == np.float32 and (found.values == 0.25).all() and found.values.shape == (1, 5)
    assert found.sources.dtype == np.int8 and (found.sources == CODE["machine"]).all()
    unknown = {"value": np.nan, "source": "unknown"}
    found = Foreign("own_examiners:Fixed", unknown, DOMAIN).examine(PAIRS, [parse_response(DOMAIN, "x")])
    assert np.isnan(found.values).all()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("Careless", {}, "own_examiners:Careless: returned list, expected Verdicts"),
        ("Fixed", {"rows": 2}, r"returned values \(2, 5\) and sources \(2, 5\), expected \(1, 5\)"),
        ("Fixed", {"value": 1.5}, "a verdict must be from 0 to 1"),
        ("Fixed", {"value": np.nan}, "`unknown` exactly where the verdict is NaN"),
        ("Fixed", {"source": "unknown"}, "`unknown` exactly where the verdict is NaN"),
    ],
)
def test_what_it_answers_is_checked(name: str, options: dict[str, object], told: str) -> None:
    examiner = Foreign(f"own_examiners:{name}", options, DOMAIN)
    with pytest.raises(UserError, match=told) as error:
        examiner.examine(PAIRS, [parse_response(DOMAIN, "x")])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("factory", {}, r"expected a class with a method examine\(pairs, responses\)"),
        ("Fixed", {"values": 1}, r"cannot be called as \(domain, values=\.\.\.\): got an unexpected"),
        ("Deaf", {}, r"Deaf.examine: cannot be called as \(self, pairs, responses\): too many"),
        ("Nobody", {}, "the module has no 'Nobody'"),
    ],
)
def test_a_class_that_does_not_fit_is_refused(name: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        examiner_class(f"own_examiners:{name}", options)
