"""Loads the model of the service, and checks it before it answers anybody."""

import math

from taosr_she.base.errors import UserError
from taosr_she.judge.load import Judge, load_judge
from taosr_she.serve.find import find_model
from taosr_she.serve.settings import ServeSettings

PROBE = {"query": "red boots", "title": "red boots"}


def load(settings: ServeSettings) -> Judge:
    """The judge of these settings, after a first judgement. Raises UserError if it cannot be loaded or gives numbers
    that are not finite."""
    source = find_model(settings.model).source
    judge = load_judge(
        source,
        settings.device,
        settings.dtype,
        settings.domain,
        settings.force_domain,
        settings.max_new_tokens,
        mode=settings.mode,
    )
    # Weights of a safetensors file stay mapped: if the file were overwritten, those of a running service would change.
    for weight in (*judge.policy.model.parameters(), *judge.policy.model.buffers()):
        weight.data = weight.data.clone()
    probabilities = judge(PROBE).probabilities
    if probabilities is not None and not all(map(math.isfinite, probabilities.values())):
        raise UserError(f"model {settings.model}: its probabilities are not finite; it has diverged, serve another")
    return judge
