"""Code that a recipe names: found in the working folder, and one clear line for whatever is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taosr_she.base.import_path import check_call, import_named, is_import_path, source_files


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_code.py").write_text("import json\n\nVALUE = 3\n\ndef double(x, *, by=2):\n    return x * by\n")
    (tmp_path / "broken_code.py").write_text("\n\nraise RuntimeError('no\\nluck')\n")
    (tmp_path / "needy_code.py").write_text("import not_there_at_all\n")
    (tmp_path / "json.py").write_text("MINE = True\n")
    yield "own_code"
    for name in ("own_code", "broken_code", "needy_code"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["a:b", "a.b_1.c:D"])
def test_import_paths(name: str) -> None:
    assert is_import_path(name)


@pytest.mark.parametrize("name", ["a", "a:", ":b", "a:b:c", "a.:b", "a:b.c", "a-b:c", "a: b", "a:b\n", "", None, 3])
def test_no_import_paths(name: object) -> None:
    assert not is_import_path(name)


def test_a_module_of_the_working_folder_is_found_and_hides_nothing(module: str, tmp_path: Path) -> None:
    assert import_named("own_code:double")(4) == 8
    assert source_files(["own_code:double", "sys:exit"]) == {"own_code:double": tmp_path / "own_code.py"}
    with pytest.raises(ValueError, match="json:MINE: the module has no 'MINE'"):
        import_named("json:MINE")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("own_code", "'own_code' is not an import path; expected e.g. my_package.my_module:my_name"),
        ("own_cod:double", "own_cod:double: no module 'own_cod' among the installed packages or in the working folder"),
        ("own_code.deep:double", "no module 'own_code.deep'|fails with ModuleNotFoundError"),
        ("own_code:dubble", "own_code:dubble: the module has no 'dubble'; it has double$"),
        ("broken_code:x", r"importing the module failed with RuntimeError: no.{1,2}luck \(broken_code.py, line 3\)"),
        ("needy_code:x", "failed with ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_what_is_wrong_is_one_line(module: str, path: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        import_named(path)
    assert "\n" not in str(error.value)


def test_calls_that_do_not_fit_are_told(module: str) -> None:
    double = import_named("own_code:double")
    check_call("own_code:double", double, ("x",), {"by": 3})
    with pytest.raises(ValueError, match=r"own_code:double: cannot be called as \(x, to=\.\.\.\): got an unexpected"):
        check_call("own_code:double", double, ("x",), {"to": 3})
    with pytest.raises(ValueError, match="too many positional arguments"):
        check_call("own_code:double", double, ("x", "y"))
    with pytest.raises(ValueError, match="own_code:VALUE: a int is not callable"):
        check_call("own_code:VALUE", import_named("own_code:VALUE"), ("x",))
