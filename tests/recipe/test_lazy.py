"""Recipe errors and dry runs need no library of the trade, and so answer at once."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "datasets",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "sqlalchemy",
}
CODE = f"""
import sys
from taosr_she.cli import main
try:
    main()
finally:
    print("heavy:", sorted({HEAVY} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "hybrid", "--dry-run"], 0),
        (["run", "selection", "--dry-run"], 0),
        (["run", "demo", "sead=1"], 2),
        (["run", "nowhere.yaml"], 2),
        (["run", "demo", "stages.evaluate.compare=[[a, b]]"], 2),
        (["run", "demo", "--dry-run", "--seeds", "1,2"], 0),
    ],
)
def test_no_torch_for_a_dry_run_or_an_error(arguments: list[str], code: int, tmp_path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert list(tmp_path.iterdir()) == []


def test_own_code_of_the_working_folder_is_found_by_the_installed_command(tmp_path: Path) -> None:
    """`-P`: as for the installed command, Python itself does not look into the working folder."""
    (tmp_path / "own_baselines.py").write_text("def one(domain, train, test, seed):\n    return []\n")
    arguments = ["run", "demo", "stages.evaluate.baselines=[own_baselines:one]", "--dry-run"]
    done = subprocess.run([sys.executable, "-P", "-c", CODE, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
