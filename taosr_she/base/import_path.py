"""Import paths: a recipe names your own code as `my_package.rules:my_rule`, a module and a name in it."""

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taosr_she.base.escape import one_line

SHAPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
SHOWN = 8
"""Maximum number of a module's names that an error lists."""


def is_import_path(name: object) -> bool:
    """Whether a name has the form `module:name`."""
    return isinstance(name, str) and SHAPE.fullmatch(name) is not None


def import_named(path: str) -> Any:
    """Import the object that an import path names. The module is installed, or a file in the working folder.

    Raises a one-line ValueError if it is not an import path, if there is no such module, if importing the module fails,
    or if it has no such name. (pydantic adds the position in the recipe.)
    """
    if not is_import_path(path):
        raise ValueError(f"'{one_line(str(path))}' is not an import path; expected e.g. my_package.my_module:my_name")
    module_name, _, name = path.partition(":")
    here, top = str(Path.cwd()), module_name.partition(".")[0]
    importlib.invalidate_caches()
    if here not in sys.path and top not in sys.modules and find_spec(top) is None:
        sys.path.append(here)  # last, and only if needed: a file here must not hide an installed module
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and (module_name == missing or module_name.startswith(f"{missing}.")):
            raise ValueError(
                f"{path}: no module '{missing}' among the installed packages or in the working folder {here}"
            ) from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
        raise ValueError(
            f"{path}: importing the module failed with {type(error).__name__}: {one_line(str(error))}{where}"
        ) from error
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module_name and n[0] != "_"]
        raise ValueError(f"{path}: the module has no '{name}'; it has {', '.join(own[:SHOWN]) or 'nothing'}")
    return getattr(module, name)


def check_call(path: str, named: Any, arguments: tuple[str, ...], options: Mapping[str, Any] | None = None) -> None:
    """Raises a one-line ValueError if `named` cannot be called with these arguments and options.

    `arguments` are the names of the positional ones in the message; `options` are passed by name.
    """
    options = options or {}
    wanted = ", ".join([*arguments, *(f"{key}=..." for key in options)])
    if not callable(named):
        raise ValueError(
            f"{path}: a {type(named).__name__} is not callable; expected {path.rpartition(':')[2]}({wanted})"
        )
    try:
        inspect.signature(named).bind(*arguments, **options)
    except (TypeError, ValueError) as error:  # ValueError: a builtin without a signature
        raise ValueError(f"{path}: cannot be called as ({wanted}): {one_line(str(error))}") from error


def source_files(paths: list[str]) -> dict[str, Path]:
    """Import path -> the file of its module. Modules built into Python have no file and are left out."""
    for path in paths:
        import_named(path)
    files = {path: getattr(sys.modules[path.partition(":")[0]], "__file__", None) for path in paths}
    return {path: Path(file) for path, file in files.items() if file is not None}
