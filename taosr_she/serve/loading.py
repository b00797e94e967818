"""Loads the model of the service, and checks it before it answers anybody."""

import math
from itertools import takewhile

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair, Product
from taosr_she.engine.kept import keep_prefix
from taosr_she.engine.shared_prefix import shares
from taosr_she.judge.load import Judge, load_judge
from taosr_she.serve.find import find_model
from taosr_she.serve.settings import ServeSettings

WORTH = 16
"""Minimum number of tokens for which keeping the beginning of all prompts is worthwhile."""
PROBE = {"query": "red boots", "title": "red boots"}


def load(settings: ServeSettings) -> Judge:
    """The judge of these settings, after a first judgement.

    Raises UserError if it cannot be loaded, has no room for the rules, or gives numbers that are not finite.
    """
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
    keep_rules(judge)
    probe = judge(PROBE)
    if probe.reason is not None and probe.reason.startswith("prompt too long"):
        raise UserError(f"model {settings.model}: not even a short pair has room; {probe.reason}")
    probabilities = probe.probabilities
    if probabilities is not None and not all(map(math.isfinite, probabilities.values())):
        raise UserError(f"model {settings.model}: its probabilities are not finite; it has diverged, serve another")
    return judge


def keep_rules(judge: Judge) -> None:
    """Run the part with which all prompts begin, instruction, grades and rules, once for all batches."""
    if not shares(judge.policy.model):
        return
    one, other = (
        judge.policy.encode_prompt(judge.domain, Pair("", "", text, Product(text))) for text in ("a b", "1, 2")
    )
    same = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
    if len(same) >= WORTH:
        keep_prefix(judge.policy.model, same)
