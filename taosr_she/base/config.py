"""What all settings have in common."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Strict(BaseModel):
    """Configuration base: an unknown key is an error, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}
    """Former name of an option -> its name now. A file with a former name gets an error that says so."""

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, given: Any) -> Any:
        for former, now in cls.renamed.items():
            if isinstance(given, dict) and former in given:
                raise ValueError(f"`{former}` is now called `{now}`: rename it")
        return given
