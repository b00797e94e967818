"""Conclusions that annotators give: checked against the step schema, and kept in one spelling."""

from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.domain.conclusions import UNKNOWN, canonical, parse_fields
from taosr_she.domain.domain import Domain, StepSpec


def checked_conclusion(domain: Domain, spec: StepSpec, text: str, partial: bool = False) -> str:
    """`text` on one line, or its code or choice. Raises UserError for what the step cannot conclude.

    A `partial` conclusion may have `?` for what is not known (of a reference in fields).
    """
    text = " ".join(text.split())
    if spec.form == "label":
        code = domain.parse_label(text)
        if code is None:
            raise UserError(f"{spec.title}: '{_short(text)}' is no grade; the grades are {', '.join(domain.codes)}")
        return code
    if spec.form == "choice":
        choices = {canonical(domain, spec, choice): choice for choice in spec.choices}
        said = canonical(domain, spec, text)
        if said not in choices:
            raise UserError(f"{spec.title}: '{_short(text)}' is none of {', '.join(spec.choices)}")
        return choices[said]
    if spec.form == "fields":
        _check_fields(spec, text, partial)
    return text


def _check_fields(spec: StepSpec, text: str, partial: bool) -> None:
    if not spec.choices and not spec.keys:
        return
    for key, value in parse_fields(text):
        if (partial and UNKNOWN in (key, value)) or (not value and key == "none"):
            continue
        if spec.keys and key not in spec.keys:
            raise UserError(f"{spec.title}: '{_short(key)}' is none of {', '.join(spec.keys)}")
        if spec.choices and value not in spec.choices:
            raise UserError(f"{spec.title}: '{_short(value)}' of '{_short(key)}' is none of {', '.join(spec.choices)}")


def _short(text: str) -> str:
    return one_line(text if len(text) <= 60 else text[:57] + "...")
