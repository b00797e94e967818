"""Our part of verl's configuration: `algorithm.srpo`, given with `+algorithm.srpo.domain=...` on the command line."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import Field, ValidationError

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.credit.config import CreditConfig
from taosr_she.domain.domain import Domain, describe, load_domain


class Settings(Strict):
    """`algorithm.srpo`."""

    domain: str
    """Name of a shipped domain, or a YAML file at the same path on every machine; the agent loop has the same."""
    credit: CreditConfig = Field(default_factory=CreditConfig)
    """As `credit` of a recipe's `rl` stage (docs/reference.md)."""


def read_settings(config: Any) -> tuple[Settings, Domain]:
    """The settings in verl's `algorithm` configuration, with their domain. UserError for what is missing or wrong."""
    found = None if config is None else config.get("srpo")
    if found is None:
        raise UserError("algorithm.srpo is missing: add +algorithm.srpo.domain=NAME (docs/scale.md, verl)")
    try:
        settings = Settings.model_validate(_plain(found))
    except ValidationError as error:
        raise UserError(f"algorithm.srpo: {describe(error)}") from error
    if settings.credit.label_weight:
        raise UserError("algorithm.srpo.credit.label_weight: verl gives credit no labels; leave it out")
    return settings, _domain(settings.domain)


@lru_cache(maxsize=4)
def _domain(name: str) -> Domain:
    return load_domain(name)


def _plain(found: Any) -> Any:
    """OmegaConf's mappings as dicts."""
    return {str(key): _plain(value) for key, value in found.items()} if isinstance(found, Mapping) else found
