"""Settings of the LLM teacher."""

from pydantic import Field

from taosr_she.endpoint.settings import EndpointConfig


class LLMTeacherConfig(EndpointConfig):
    """An OpenAI-compatible endpoint, and how it is asked to teach."""

    temperature: float | None = Field(default=0.7, ge=0, le=2)
    """Sampling temperature; above 0, or a second attempt says the same again. Null: none is sent."""
