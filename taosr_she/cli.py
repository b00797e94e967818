"""The command line, put together from `commands`. Heavy libraries are imported inside the commands, so that `--help`
answers at once."""

import errno
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from taosr_she import __version__
from taosr_she.commands import annotations, bench, data
from taosr_she.commands.evaluate import evaluate
from taosr_she.commands.examine import examine
from taosr_she.commands.judge import judge
from taosr_she.commands.report import figure, report
from taosr_she.commands.run import demo, run
from taosr_she.commands.select import select
from taosr_she.errors import UNWRITABLE, UserError
from taosr_she.secret import masked

app = typer.Typer(
    name="taosr-she", help="Step-examined relevance: train and measure models that judge query-product pairs in steps.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
COMMANDS: tuple[Callable[..., None], ...] = (demo, run, evaluate, judge, examine, select, report, figure)
GROUPS: dict[str, tuple[str, tuple[Callable[..., None], ...]]] = {
    "data": ("Check, convert and generate pairs.", (data.validate, data.convert, data.market)),
    "annotations": (
        "What people said: import, export, agreement.", (annotations.import_, annotations.export, annotations.agreement)
    ),
    "bench": (
        "Measure speed.", (bench.speed, bench.device, bench.parts, bench.profile, bench.threads, bench.paper)
    ),
}  # fmt: skip
for command in COMMANDS:
    app.command()(command)
for name, (what, commands) in GROUPS.items():
    group = typer.Typer(help=what, no_args_is_help=True)
    for command in commands:
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


PLACE_IS_WRONG = {
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO,
    errno.EPIPE, *UNWRITABLE,
}  # fmt: skip
"""What the system says where a path that the user chose cannot be written. A file that is not there is not among them:
readers name theirs themselves, and one that is missing from the package is our mistake."""


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"taosr-she: {masked(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in PLACE_IS_WRONG:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"taosr-she: {where}{error.strerror}; name another place or make room there", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("taosr-she: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
