"""`taosr-she --version`: what a report of a fault needs, without the libraries being imported."""

import re
import subprocess
import sys
from pathlib import Path

from taosr_she import __version__
from taosr_she.commands.version import device


def test_it_names_the_versions_that_matter_and_imports_none_of_them() -> None:
    code = (
        "import sys; sys.argv = ['taosr-she', '--version']\n"
        "from taosr_she.cli import main\n"
        "try: main()\nexcept SystemExit as stop: print(stop.code)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'tokenizers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == f"taosr-she {__version__}" and out[-2:] == ["0", "[]"]
    named = dict(line.split(" ", 1) for line in out[:-2])
    assert list(named) == ["taosr-she", "python", "torch", "transformers", "trl", "tokenizers", "device"]
    assert all(re.match(r"\d+\.\d+", named[name]) for name in ("python", "torch", "transformers", "trl", "tokenizers"))


def test_the_device_is_what_the_driver_lists(tmp_path: Path) -> None:
    assert "CPUs" in device("2.13.0", tmp_path / "none")
    for number in (0, 1):
        (tmp_path / f"0000:0{number}").mkdir()
        (tmp_path / f"0000:0{number}" / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n")
    (tmp_path / "0000:02").mkdir()
    assert device("2.13.0", tmp_path) == "NVIDIA H100 80GB HBM3, NVIDIA H100 80GB HBM3, NVIDIA GPU"
    assert device("2.13.0+cpu", tmp_path).endswith("but torch is built for the CPU only")
