"""Overrides of nested settings: `key.sub=value` from a command line, or a tree of values."""

from collections.abc import Mapping
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.base.strict_yaml import AS_WRITTEN, parse_yaml


def set_value(settings: dict[str, Any], override: str, example: str) -> None:
    """Set `override` (`key.sub=value`, the value in YAML) in `settings`, and create missing parent keys.

    Raises a UserError of one line that names the override; it shows `example` if the form is wrong.
    """
    key, equals, value = override.partition("=")
    what = f"override '{one_line(override)}'"
    if not equals:
        raise UserError(f"{what}: expected key=value, e.g. {example}")
    *parents, last = key.split(".")
    branch = settings
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise UserError(f"{what}: '{one_line(parent)}' holds a value, not keys")
    branch[last] = parse_yaml(value, what, not AS_WRITTEN.isdisjoint([*parents, last]))


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `top` merged in recursively; neither is changed.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    result = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
