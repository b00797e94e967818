"""`run.log`: what the terminal said and what libraries warned of, over all sittings."""

import io
import logging
import re
import warnings
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import Terminal
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run_log import RUN_LOG, RunLog

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) ")


def log_of(folder: Path) -> str:
    return (folder / RUN_LOG).read_text("utf-8")


def quiet(**options: bool) -> Progress:
    return Progress(Terminal(file=io.StringIO(), **options), quiet_seconds=0.0)


@pytest.mark.parametrize("imported", [False, True])
def test_lines_and_warnings_with_times_over_two_sittings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, imported: bool
) -> None:
    """With `imported` transformers is there and keeps its messages to itself; without, they go to the root logger."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", not imported)
    for sitting in (1, 2):
        progress = quiet()
        with RunLog(tmp_path, progress):
            progress.say(f"sft: sitting {sitting}")
            progress.stage("sft", 2)(1, "loss 3.000")
            warnings.warn(f"deprecated {sitting}", FutureWarning, stacklevel=1)
            logging.getLogger("taosr_she.train.sft.train").warning("%d examples are left out", sitting)
            logging.getLogger("transformers.modeling").warning("of transformers %d", sitting)
            logging.getLogger("some.library").info("chatter")
        progress.say("said after the run")
    lines = log_of(tmp_path).splitlines()
    assert sum(bool(LINE.match(line)) for line in lines) == 2 * 6
    for words in ("taosr-she 0.", "sitting {}", "deprecated {}", "{} examples are left out", "of transformers {}"):
        for sitting in (1, 2):
            assert any(words.format(sitting) in line for line in lines), words
    assert sum("sft: 1/2" in line for line in lines) == 2
    assert "chatter" not in log_of(tmp_path) and "after the run" not in log_of(tmp_path)
    assert next(line for line in lines if "left out" in line).split()[2] == "WARNING"
    shown = capsys.readouterr().err
    assert shown.count("deprecated 1") == shown.count("1 examples are left out") == 1, "the terminal hears them still"
    files = (getattr(handler, "baseFilename", "") for handler in logging.getLogger().handlers)
    assert str(tmp_path / RUN_LOG) not in files


def test_in_a_terminal_the_lines_behind_the_bars_are_logged(tmp_path: Path) -> None:
    progress = quiet(force_terminal=True)
    with progress, RunLog(tmp_path, progress):
        progress.stage("grpo", 10)(10, "reward 0.500")
    assert "grpo: 10/10" in log_of(tmp_path) and "reward 0.500" in log_of(tmp_path)


@pytest.mark.parametrize(
    ("error", "words", "trace"),
    [
        (UserError("stage 'sft': no demonstrations"), "ERROR stopped: stage 'sft': no demonstrations", False),
        (KeyboardInterrupt(), "INFO stopped by the user", False),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", True),
    ],
)
def test_what_ends_the_run_is_logged(tmp_path: Path, error: BaseException, words: str, trace: bool) -> None:
    with pytest.raises(type(error)), RunLog(tmp_path, quiet()):
        raise error
    assert words in log_of(tmp_path) and ("Traceback" in log_of(tmp_path)) == trace


def test_what_data_says_is_text_in_the_log(tmp_path: Path) -> None:
    progress = quiet()
    with RunLog(tmp_path, progress):
        progress.say("llm teacher: \x1b[2J[red]answer \ud800")
    assert r"llm teacher: \x1b[2J[red]answer \ud800" in log_of(tmp_path) and "\x1b" not in log_of(tmp_path)


def test_a_run_leaves_its_log_with_the_table(toy_run: Path) -> None:
    text = log_of(toy_run)
    for words in (
        f"metrics go to tensorboard: tensorboard --logdir {toy_run}/track/tensorboard",
        "sft: starts",
        "evaluate: done in",
        "macro-F1",
        "95% intervals over queries",
        "report.html",
    ):
        assert words in text
    assert "WARNING the GSRM reaches a first-error F1 of" in text
