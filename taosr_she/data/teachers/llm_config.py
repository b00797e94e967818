"""Settings of the LLM teacher."""

from pydantic import Field

from taosr_she.endpoint.settings import EndpointConfig


class LLMTeacherConfig(EndpointConfig):
    """An OpenAI-compatible endpoint that acts as a teacher."""

    temperature: float | None = Field(default=0.7, ge=0, le=2)
    """Sampling temperature. Use a value above 0, or a second attempt gives the same answer. Null: none is sent."""
