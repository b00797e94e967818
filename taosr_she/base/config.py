"""The base class of all settings."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all settings: an unknown key is an error, and values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
