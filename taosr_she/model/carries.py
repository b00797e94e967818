"""Checks that a tokenizer preserves what the task needs: the response format, both ways, and the text of a pair.

With a tokenizer that loses line breaks, brackets or the case of label codes, training would finish without an error and
the model would write only malformed responses. So it is checked once for each domain, before training or judging.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from taosr_she.base.errors import UserError
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response, render_response
from taosr_she.domain.spans import decode_response

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


def check_carries(policy: "Policy", domain: Domain, prompt: Callable[[Pair], list[int]]) -> None:
    """Raises UserError if the tokenizer does not preserve a response in the domain's format, or the text of a pair.

    `prompt` gives the token ids of a pair's prompt. Only words of the domain are tested; `check_responses` tests the
    shop's words in the demonstrations.
    """
    for n in range(max(len(domain.codes), *(len(spec.choices) for spec in domain.steps))):
        code = domain.codes[n % len(domain.codes)]
        text = render_response(domain, {spec.key: _conclusion(spec, code, n) for spec in domain.steps})
        why = why_lost(policy, domain, text)
        if why:
            raise UserError(f"{_named(policy)} cannot write the response format: {why}; use another model")
    first, other = [*domain.step_keys, *domain.codes][:2]
    asked = [prompt(_pair(query, title)) for query, title in ((first, first), (other, first), (first, other))]
    titled = any(field.name == "title" for field in domain.prompt.read_fields)
    if asked[0] == asked[1] or (titled and asked[0] == asked[2]):
        raise UserError(f"{_named(policy)} drops the text of the pair: all prompts are the same; use another model")


def check_responses(policy: "Policy", domain: Domain, responses: Sequence[tuple[str, str]]) -> None:
    """Raises UserError if the tokenizer changes any of the responses, given as (pair_id, text)."""
    lost = [(pair_id, why) for pair_id, text in responses if (why := why_lost(policy, domain, text))]
    if lost:
        raise UserError(
            f"{_named(policy)} changes {len(lost)} of {len(responses)} demonstrations; the first is that of pair "
            f"'{lost[0][0]}': {lost[0][1]}; use another model, or fix the demonstrations"
        )


def why_lost(policy: "Policy", domain: Domain, text: str) -> str:
    """What a response loses when it is encoded, decoded and parsed; "" if nothing important.

    It must stay well formed, with its label and the conclusions of its `choice` steps. Spaces may change.
    """
    before = parse_response(domain, text)
    if not before.well_formed:
        return ""  # there is nothing to lose
    decoded = decode_response(policy.tokenizer, policy.encode_response(text)[:-1])
    after = parse_response(domain, decoded)
    shown = f"{text[:60]!r} comes back as {decoded[:60]!r}"
    if not after.well_formed:
        return f"{after.reason} ({shown})"
    if after.label != before.label:
        return f"label {before.label} becomes {after.label} ({shown})"
    for spec, old, new in zip(domain.steps, before.steps, after.steps, strict=True):
        if spec.form != "choice" or old is None or new is None:
            continue
        if canonical(domain, spec, old.text) != canonical(domain, spec, new.text):
            return f"'{old.text}' becomes '{new.text}' in section [{spec.key}]"
    return ""


def _named(policy: "Policy") -> str:
    name = getattr(policy.tokenizer, "name_or_path", "")
    return f"model {name}: its tokenizer" if name else "the model's tokenizer"


def _conclusion(spec: StepSpec, code: str, n: int) -> str:
    if spec.form == "label":
        return code
    return spec.choices[n % len(spec.choices)] if spec.form == "choice" else spec.key


def _pair(query: str, title: str) -> Pair:
    return Pair("probe", "probe", query, Product(title=title))
