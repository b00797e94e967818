"""The log of a run folder: terminal output and warnings of the libraries, with times, over all starts of the run."""

import io
import logging
import os
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.escape import plain
from taosr_she.base.terminal import PIPE_WIDTH, Terminal
from taosr_she.recipe.progress import Progress

RUN_LOG = "run.log"
APART = "transformers"
"""A library that, once imported, does not pass its messages to the root logger."""


class RunLog(AbstractContextManager["RunLog"]):
    """Inside, every line of the progress and every warning is also a line of `run.log`, which is added to.

    Warnings go on to the standard error stream as before. An error that ends the run is logged, with its trace when it
    is not the user's.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._progress = progress
        # A file handler waits for nothing: what was said is there after a kill.
        self._file = logging.FileHandler(folder / RUN_LOG, encoding="utf-8", errors="backslashreplace")
        self._file.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._apart = _Apart(self._file)

    def __enter__(self) -> "RunLog":
        logging.getLogger().addHandler(self._file)
        logging.getLogger(APART).addHandler(self._apart)
        # A root logger with a handler of its own no longer shows warnings on the terminal by itself.
        assert logging.lastResort is not None
        logging.getLogger().addHandler(logging.lastResort)
        logging.captureWarnings(True)
        self._progress.log = self.write
        self.write(f"taosr-she {__version__}, process {os.getpid()}")
        return self

    def write(self, text: str, level: int = logging.INFO) -> None:
        """A line only for the file."""
        self._file.handle(logging.LogRecord("taosr_she", level, __file__, 0, text, None, None))

    def show(self, what: Any) -> None:
        """Terminal output, such as a table, as text."""
        out = io.StringIO()
        Terminal(file=out, width=PIPE_WIDTH).print(what)
        self.write(f"\n{out.getvalue().rstrip()}")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(value, UserError):
            self.write(f"stopped: {value}", logging.ERROR)
        elif isinstance(value, KeyboardInterrupt):
            self.write("stopped by the user")
        elif value is not None:
            self.write("".join(["stopped by an error\n", *traceback.format_exception(value)]).rstrip(), logging.ERROR)
        self._progress.log = lambda text: None
        logging.captureWarnings(False)
        assert logging.lastResort is not None
        logging.getLogger().removeHandler(logging.lastResort)
        logging.getLogger().removeHandler(self._file)
        logging.getLogger(APART).removeHandler(self._apart)
        self._file.close()


class _Apart(logging.Handler):
    """Passes on what the root logger does not receive."""

    def __init__(self, file: logging.Handler) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger(APART).propagate:
            self._file.handle(record)


class _Formatter(logging.Formatter):
    """Makes texts from data and libraries harmless in the log too."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))
