"""What all settings have in common."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Configuration base: an unknown key is an error, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
