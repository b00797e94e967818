"""The command line, assembled from `commands`. They import heavy libraries only when they run: `--help` stays fast."""

import errno
import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from taosr_she.base.errors import UNWRITABLE, Stopped, UserError
from taosr_she.base.escape import one_line
from taosr_she.base.secret import masked
from taosr_she.commands import annotate, annotations, bench, data, model
from taosr_she.commands.evaluate import evaluate
from taosr_she.commands.examine import examine
from taosr_she.commands.judge import judge
from taosr_she.commands.report import figure, report
from taosr_she.commands.run import demo, run
from taosr_she.commands.say import said_when_stopped
from taosr_she.commands.select import select
from taosr_she.commands.serve import serve
from taosr_she.commands.version import versions
from taosr_she.ranks.group import Lost
from taosr_she.ranks.launch import joined, leave, only_one

app = typer.Typer(
    name="taosr-she", help="Step-examined relevance: train and measure models that judge query-product pairs in steps.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
COMMANDS: tuple[Callable[..., None], ...] = (
    demo, run, evaluate, judge, serve, examine, select, report, figure,
)  # fmt: skip
GROUPS: dict[str, tuple[str, tuple[Callable[..., None], ...]]] = {
    "data": ("Check, convert and generate pairs.", (data.validate, data.convert, data.market)),
    "annotate": ("The page on which people judge steps.", (annotate.queue, annotate.link, annotate.serve)),
    "annotations": (
        "Annotations: import, export, agreement.", (annotations.import_, annotations.export, annotations.agreement)
    ),
    "model": ("Pretrained models: by name, or from GGUF files.", (model.fetch, model.import_)),
    "bench": (
        "Measure speed, and compare methods.",
        (
            bench.speed, bench.device, bench.precision, bench.parts, bench.profile, bench.threads, bench.processes,
            bench.trl, bench.scale, bench.paper, bench.real, bench.gsrm, bench.online, bench.serve, bench.annotate,
            bench.bulk, bench.vllm,
        ),
    ),
}  # fmt: skip
RESUMABLE = {
    demo, run, judge, select, model.fetch, annotate.serve, bench.paper, bench.real, bench.gsrm, bench.online,
}  # fmt: skip
"""Commands that resume when they are called again; the others start over."""
SPLIT = {demo, run, evaluate, judge, examine, select}
"""Commands that split their work over the processes that torchrun has started."""


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Ctrl-C becomes `Stopped`; typer alone would exit without a message."""
    how = "what is done is kept; run the same command again to continue" if command in RESUMABLE else "run it again"

    @functools.wraps(command)
    def stoppable(*arguments: Any, **options: Any) -> None:
        if command not in SPLIT:
            only_one(command.__name__.rstrip("_"))
        with said_when_stopped(lambda: how):
            command(*arguments, **options)

    return stoppable


for command in COMMANDS:
    app.command()(_stoppable(command))
for name, (what, commands) in GROUPS.items():
    group = typer.Typer(help=what, no_args_is_help=True)
    for command in commands:
        group.command(command.__name__.rstrip("_"))(_stoppable(command))
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of this program and of its libraries.")
    ] = False,
) -> None:
    if version:
        print("\n".join(versions()))
        raise typer.Exit


UsageError: Any = typer.BadParameter.__base__  # typer carries its own copy of click, under a private name

PATH_IS_WRONG = {
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO,
    errno.EPIPE, *UNWRITABLE,
}  # fmt: skip
"""System errors that mean a path chosen by the user cannot be written. A missing file is not one of them: readers
report missing input files themselves, and a file missing from the package is our own mistake."""


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit code 2; Ctrl-C one line and 130."""
    try:
        with joined():
            code = app(prog_name="taosr-she", standalone_mode=False)
    except UsageError as error:
        raise SystemExit(_say(_usage(error), 2)) from None
    except Lost as error:
        leave(_say(str(error), 2))
    except UserError as error:
        raise SystemExit(_say(str(error), 2)) from None
    except OSError as error:
        if error.errno not in PATH_IS_WRONG:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise SystemExit(_say(f"{where}{error.strerror}; choose another path or free some space", 2)) from None
    except Stopped as error:
        raise SystemExit(_say(f"stopped; {error}", 130)) from None
    raise SystemExit(code)


def _say(message: str, code: int) -> int:
    if message:
        print(f"taosr-she: {one_line(masked(message))}", file=sys.stderr)
    return code


def _usage(error: Any) -> str:
    """A wrong option or argument as one line; empty if typer has shown the help instead."""
    command = error.ctx.command_path if error.ctx else "taosr-she"
    message = " ".join(error.format_message().split())
    return f"{message.rstrip('.')}; see {command} --help" if message else ""


if __name__ == "__main__":
    main()
