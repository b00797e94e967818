"""The prompt of the LLM teacher, and the check of its answers."""

from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_system
from taosr_she.domain.response import parse_response
from taosr_she.endpoint.chat import AGAIN, CHAT_TOKENS, Message

TASK = """\
{pair}

People have graded this pair {code} ({name}). Write the steps of reasoning that lead to this grade, as somebody would
who does not know it yet: name what the query asks, what the product is, and what decides. Say only what the text above
supports. Do not mention that the grade was given. Write the sections [{first}] to [{last}] in the form shown, each on
one short line, and [{label}] {code} for the grade: nothing before, between or after them, no Markdown.{allowed}"""

ALLOWED = "\nAllowed in [{key}]: {choices}."


def teacher_messages(domain: Domain, pair: Pair, reason: str = "") -> list[Message]:
    """The chat messages for a labelled pair. `reason` says why the previous answer was not kept.

    Rules, grades and format are shown even if the domain's own prompt leaves them out for small models.
    """
    shown = domain.prompt.model_copy(
        update={"show_labels": True, "show_rules": True, "show_format": True, "answer_heading": ""}
    )
    full = domain.model_copy(update={"prompt": shown})
    grade = next(g for g in domain.labels if g.code == pair.label)
    task = TASK.format(
        pair=render_pair(full, pair, CHAT_TOKENS).rstrip(), code=grade.code, name=grade.name,
        first=domain.step_keys[0], last=domain.step_keys[-1], label=domain.step_keys[domain.label_step],
        allowed="".join(ALLOWED.format(key=s.key, choices=", ".join(s.choices)) for s in domain.steps if s.choices),
    )  # fmt: skip
    again = AGAIN.format(reason=reason) if reason else ""
    return [{"role": "system", "content": render_system(full)}, {"role": "user", "content": task + again}]


def why_unusable(domain: Domain, pair: Pair, response: str, finished: bool) -> str | None:
    """Why a response is not a demonstration of the pair; None if it is well formed and has the human label.

    A conclusion that is not among the step's choices counts as malformed: a model that learns it can never be right.
    """
    parsed = parse_response(domain, response, finished)
    if parsed.reason is not None:
        return parsed.reason
    if parsed.label != pair.label:
        return "the label is not the human one"
    for spec, step in zip(domain.steps, parsed.steps, strict=True):
        allowed = {canonical(domain, spec, choice) for choice in spec.choices}
        if spec.form == "choice" and step is not None and canonical(domain, spec, step.text) not in allowed:
            return f"[{spec.key}] must be one of: {', '.join(spec.choices)}"
    if any(token in response for token in CHAT_TOKENS):
        return "a chat token in the text"
    return None
