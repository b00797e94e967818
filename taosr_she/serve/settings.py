"""The settings of the service."""

from pathlib import Path

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.judge.mode import Mode


class ServeSettings(Strict):
    """What is served, where, and within which limits."""

    model: str
    """Model: a folder, a name from docs/models.md, the name of a run, or a hub name."""
    name: str | None = None
    """Name of the model in answers and requests. Default: the run's or folder's name."""
    domain: str | None = None
    """Domain, if it is not the model's own."""
    force_domain: bool = False
    """Use `domain` even if the model was trained for another one."""
    mode: Mode = "reason"
    """`reason`: steps, then label. `label`: the label distribution alone."""
    device: str = "auto"
    """As for `load_judge`."""
    dtype: str = "auto"
    """As for `load_judge`."""
    max_new_tokens: int = Field(default=128, ge=1)
    """Maximum length of a response, in tokens."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    keys: Path | None = None
    """File with one key a line, for all routes but the probes."""
    admin_keys: Path | None = None
    """File with one key a line, for `/admin/reload`."""
    without_keys: bool = False
    """Listen on an address that others reach although there are no keys."""
    batch: int | None = Field(default=None, ge=1)
    """Maximum number of candidates judged together. Default: 64 on a CPU, 256 on a GPU."""
    queue: int = Field(default=2048, ge=1)
    """Maximum number of candidates that wait; a call that would exceed it is refused with 429."""
    candidates: int = Field(default=1000, ge=1)
    """Maximum number of candidates in a call."""
    body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    """Maximum size of a request's body."""
    deadline: float = Field(default=30.0, gt=0)
    """Seconds after which a candidate that is still waiting gets an error instead of a judgement."""
    grace: float = Field(default=30.0, gt=0)
    """Seconds that accepted calls have after SIGTERM."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Our product field -> its name in the documents of Quepid, OpenSearch and rerank, such as title=product_name."""
    log_texts: bool = False
    """Also log queries and titles."""

    @model_validator(mode="after")
    def _check(self) -> "ServeSettings":
        if self.candidates > self.queue:
            raise ValueError(f"candidates ({self.candidates}) must not exceed queue ({self.queue})")
        return self
