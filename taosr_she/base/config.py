"""The base class of all settings, and validation errors in one line."""

import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from taosr_she.base.escape import one_line


class Strict(BaseModel):
    """Base of all settings: an unknown key is an error, and values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}
    """Former name of an option -> its name now. A file with a former name gets an error that says so."""
    later: ClassVar[dict[str, Any]] = {}
    """Option that was added later -> the value with which everything is as it was before."""

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, given: Any) -> Any:
        for former, now in cls.renamed.items():
            if isinstance(given, dict) and former in given:
                raise ValueError(f"`{former}` is now called `{now}`: rename it")
        return given

    def computed(self) -> dict[str, Any]:
        """The settings that decide the result, for a fingerprint. An option of `later` is left out at its former value,
        also in nested settings, so that runs from before it was added still count."""
        dumped = self.model_dump(mode="json")
        values = {name: getattr(self, name) for name in type(self).model_fields}
        kept = {name: value for name, value in values.items() if name not in self.later or value != self.later[name]}
        return {name: _computed(value, dumped[name]) for name, value in kept.items()}


def _computed(value: Any, dumped: Any) -> Any:
    if isinstance(value, Strict):
        return value.computed()
    if isinstance(value, list | tuple):
        return [_computed(one, plain) for one, plain in zip(value, dumped, strict=True)]
    return dumped


def describe(error: ValidationError) -> str:
    """The first problem of a validation error as one line: its position and what is wrong."""
    first = error.errors()[0]
    where = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key; remove it or check its spelling"
    elif first["type"] == "string_type" and isinstance(first["input"], bool | int | float | None):
        message = f"YAML reads {json.dumps(first['input'])} here; put quotes around a text"
    return one_line(f"{where}: {message}" if where else message)
