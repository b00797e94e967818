"""The reference of all options, `docs/reference.md`, generated from the code by `make reference`.

Recipe and domain options come from the pydantic models (type, limits, default, and the text under the field), options
of the command line from the typer tree. Nothing on the page is written by hand, and a test compares the page with the
output of this file.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from taosr_she.base.config import Strict
from taosr_she.base.files import write_text
from taosr_she.cli import app
from taosr_she.domain.domain import Domain
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.stages import KINDS

Model = type[Strict]
LIMITS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}
HEAD = """\
# Reference of all options

Generated from the code by `make reference`; a test fails if it is out of date. Do not edit it.

Any recipe option can be set on the command line as `key.sub=value`: `taosr-she run demo stages.sft.settings.epochs=2`.
An unknown key is an error. An option whose default is "required" must be given.

- [Recipe](#recipe): the head of a recipe file
- [Kinds of stage](#kinds-of-stage): {kinds}
- [Sections of stages](#sections-of-stages): options under a key of a stage, such as `rl: settings.credit`
- [Domain file](#domain-file): labels, steps, rules, prompt
- [Command line](#command-line)
"""


def reference() -> str:
    """The whole page."""
    stages: dict[str, Model] = dict(KINDS)
    sections = below(stages)
    parts = [
        HEAD.format(kinds=", ".join(f"[{kind}](#kind-{kind})" for kind in stages)),
        "## Recipe\n\n" + table(Recipe),
        "## Kinds of stage\n\nEvery stage has a `kind`, which determines what it does.",
        *(f"### Kind `{kind}`\n\n{text_of(model)}\n\n{table(model)}" for kind, model in stages.items()),
        "## Sections of stages",
        *(section(model, keys) for model, keys in sections.items()),
        f"## Domain file\n\n{text_of(Domain)}\n\n{table(Domain)}",
        *(section(model, keys) for model, keys in below({"": Domain}).items()),
        "## Command line",
        *(f"### `{words}`\n\n{command_text(command)}" for words, command in commands(typer.main.get_command(app))),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def is_stage(model: Model) -> bool:
    """Whether a model is a kind of stage: it has a fixed `kind`."""
    kind = model.model_fields.get("kind")
    return kind is not None and (kind.annotation is str or len(get_args(kind.annotation)) == 1)


def models_in(field: Any) -> list[Model]:
    """The models that a field's type names, in the order of the type."""
    found: list[Model] = []

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, Strict):
            found.append(annotation)
        for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
            visit(part)

    visit(field.annotation)
    return found


def below(tops: dict[str, Model]) -> dict[Model, list[str]]:
    """The models under the fields of `tops`, at any depth, in the order in which they are met -> keys that lead there,
    from the name of the top on: `rl: settings.credit`."""
    found: dict[Model, list[str]] = {}

    def visit(top: str, model: Model, path: tuple[str, ...]) -> None:
        for name, field in model.model_fields.items():
            for part in models_in(field):
                keys = ".".join((*path, name))
                found.setdefault(part, []).append(f"{top}: {keys}" if top else keys)
                visit(top, part, (*path, name))

    for top, model in tops.items():
        visit(top, model, ())
    return found


def section(model: Model, keys: list[str]) -> str:
    """The description of a model, the keys that lead to it, and its options."""
    where = ", ".join(f"`{key}`" for key in keys)
    return f"### {model.__name__}\n\n{text_of(model)}\n\nKey: {where}.\n\n{table(model)}"


def texts_under_fields(model: Model) -> dict[str, str]:
    """Field -> the string that stands under it in the source, of the class and those it extends."""
    texts: dict[str, str] = {}
    for level in reversed(model.__mro__):
        if not issubclass(level, Strict) or level is Strict:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(level))).body
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                texts[statement.target.id] = one_paragraph(after.value.value)
    return texts


def table(model: Model) -> str:
    """Option, type with limits, default, text. `kind` is left out: the heading says it."""
    texts = texts_under_fields(model)
    lines = ["| option | type | default | |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if name == "kind" and is_stage(model):
            continue
        limits = ", ".join(
            f"{sign} {plain(getattr(limit, key))}" for limit in field.metadata for key, sign in LIMITS.items()
            if getattr(limit, key, None) is not None
        )  # fmt: skip
        kind = type_text(field.annotation) + (f", {limits}" if limits else "")
        lines.append(f"| `{name}` | {cell(kind)} | {cell(default_text(field))} | {cell(texts[name])} |")
    return "\n".join(lines)


def type_text(annotation: Any) -> str:
    """A type in words: `whole number`, `list of text`, a link to the section of a model."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(parts[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (Union, UnionType):
        known = dict.fromkeys(type_text(part) for part in parts if part is not type(None))
        return " or ".join(known) + (" or null" if type(None) in parts else "")
    if origin is dict:
        return f"mapping of {type_text(parts[0])} to {type_text(parts[1])}"
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"({', '.join(map(type_text, parts))})"
    if origin in (tuple, list):
        return f"list of {type_text(parts[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        if is_stage(annotation):
            return "[stage](#kinds-of-stage)"
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}
    if annotation not in names:
        raise TypeError(f"reference: no words for the type {annotation}; add it to type_text")
    return names[annotation]


def default_text(field: Any) -> str:
    """A default as written in a recipe; for a section, only what differs from the section's own defaults."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return value_text(value)


def value_text(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Strict):
        own = {n: f.get_default(call_default_factory=True) for n, f in type(value).model_fields.items()}
        changed = {n: getattr(value, n) for n in own if getattr(value, n) != own[n]}
        return ", ".join(f"`{n}: {plain(v)}`" for n, v in changed.items()) or "its defaults"
    return f"`{plain(value)}`"


def plain(value: Any) -> str:
    """Without marks around it."""
    if isinstance(value, Strict):
        return "{" + ", ".join(f"{n}: {plain(v)}" for n, v in value.model_dump(exclude_defaults=True).items()) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{plain(k)}: {plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(plain, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def text_of(model: Model) -> str:
    """The docstring of a class, with its paragraphs unchanged."""
    return inspect.cleandoc(model.__doc__ or "")


def commands(group: Any, words: str = "taosr-she") -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def command_text(command: Any) -> str:
    """The description of a command, and its arguments and options."""
    lines = [one_paragraph(command.help), "", "| argument or option | default | |", "| --- | --- | --- |"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + (" ..." if parameter.nargs == -1 else "")
        else:
            name = ", ".join(parameter.opts)
        lines.append(f"| `{name}` | {cell(parameter_default(parameter))} | {cell(one_paragraph(parameter.help))} |")
    return "\n".join(lines)


def parameter_default(parameter: Any) -> str:
    """The value used if an argument or option is not given; empty if that is obvious."""
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default in (None, "") or getattr(parameter, "is_flag", False):
        return ""
    return f"`{parameter.default}`"


def one_paragraph(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """Harmless inside a Markdown table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), reference())
