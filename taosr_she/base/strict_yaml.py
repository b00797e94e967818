"""YAML read literally: no duplicate keys, no words converted to other types, and one-line errors.

PyYAML follows YAML 1.1, where `no` is false, `010` is 8, `1_0` is 10, `12:30` is 750 and `2020-01-01` a date. Of two
equal keys, it drops the first. Here only `true` and `false` are booleans and only plain decimal numbers are numbers.
Everything else stays text; a field with another type converts that text itself.
"""

import codecs
import re
from pathlib import Path
from typing import Any

import yaml

from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line

MAX_DEPTH = 100
"""Deepest nesting, with aliases written out."""
MAX_NODES = 200_000
"""Maximum number of values in a file, with aliases written out: otherwise ten short lines could expand to a billion."""
MAX_WHOLE = 2**63 - 1
"""Largest whole number."""
AS_WRITTEN = frozenset({"where", "not_scored", "code", "grade", "id", "aliases"})
"""Under these keys, values are compared with text in a file, so they stay as written: `1.10` is not 1.1."""

_KEPT_TAGS = {
    "tag:yaml.org,2002:bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"^(?:[-+]?(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    "tag:yaml.org,2002:null": re.compile(r"^(?:~|null|Null|NULL|)$"),
    "tag:yaml.org,2002:merge": re.compile(r"^<<$"),
}
# YAML 1.1 reads all of them the same way, so what `dump_yaml` writes is read back unchanged.


class _Dumper(yaml.SafeDumper):
    """Escapes Unicode line breaks, which PyYAML would otherwise write in a form that it reads back as a space."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if any(c in text for c in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_yaml(content: Any) -> str:
    """YAML of plain values: readable, and read back unchanged by `parse_yaml`."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_yaml(path: Path, what: str) -> Any:
    """The content of a file. Raises a UserError that starts with `what`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror})") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{what}: this is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{what}: line {line} is not UTF-8; save the file as UTF-8") from error
    return parse_yaml(text, what)


def parse_yaml(text: str, what: str, as_written: bool = False) -> Any:
    """The content of a text. `as_written`: whether it belongs to one of the keys AS_WRITTEN. Raises UserError."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if loader.doubled:
                duplicates = ", ".join(text for _, text in sorted(loader.doubled))
                raise UserError(f"{what}: {duplicates}; keep one of them")
            if node is None:
                return "" if as_written else None
            _write_out(node, as_written, set())
            return _copied(loader.construct_document(node))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise UserError(f"{what}: not valid YAML: {_reason(error)}") from error


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.doubled: list[tuple[int, str]] = []  # line of the first of two equal keys, and the message
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # id of a complete node -> values in it, levels in it

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not alias:
            inner = [self._sizes[id(child)] for child in _children(node)]
            self._sizes[id(node)] = 1 + sum(n for n, _ in inner), 1 + max((d for _, d in inner), default=0)
        if id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "an alias is used inside its own definition", mark)
        nodes, depth = self._sizes[id(node)]
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAX_NODES} values or {MAX_DEPTH} levels, with aliases written out", mark
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.ScalarNode] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            known = first.setdefault((key.tag, key.value), key)
            if known is not key:
                before, line = known.start_mark.line + 1, key.start_mark.line + 1
                where = f"in line {line}" if before == line else f"(lines {before} and {line})"
                self.doubled.append((before, f"the key '{one_line(key.value)}' occurs twice {where}"))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:  # `!!int x`, `!!binary é`
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"'{one_line(str(node.value))[:60]}' is not a valid {node.tag.rpartition(':')[2]}",
                node.start_mark,
            ) from error
        wrong = None
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            wrong = f"the number {node.value[:20]}… is larger than {MAX_WHOLE}"
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            wrong = "a null character or a lone surrogate, which cannot be stored in a file"
        if wrong:
            raise yaml.constructor.ConstructorError(None, None, wrong, node.start_mark)
        return value


_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}
# No recipe or domain needs dates, sets or bytes.
_Loader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag is None or tag in _TAGS
}
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in _KEPT_TAGS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _write_out(node: Any, as_written: bool, seen: set[tuple[int, bool]]) -> None:
    """Turn plain values under the keys AS_WRITTEN into text, except whole numbers, whose text is unambiguous."""
    if (id(node), as_written) in seen:
        return
    seen.add((id(node), as_written))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _write_out(value, as_written or (isinstance(key, yaml.ScalarNode) and key.value in AS_WRITTEN), seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _write_out(value, as_written, seen)
    elif as_written and node.style is None and node.tag in _KEPT_TAGS and str(node.value) != _whole(node):
        node.tag = "tag:yaml.org,2002:str"


def _copied(value: Any) -> Any:
    """A copy without shared parts, so that a value used twice by an alias can be changed in one of the two places."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _whole(node: yaml.ScalarNode) -> str | None:
    return str(int(node.value)) if node.tag.endswith(":int") and len(node.value) < 20 else None


def _reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None)
    if mark is None or problem is None:
        return one_line(str(error))
    return f"line {mark.line + 1}: {one_line(problem)}"
