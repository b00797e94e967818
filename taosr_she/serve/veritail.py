"""veritail: one query with one product, answered by lines with SCORE, ATTRIBUTES and REASONING.

The forms are those of its source: `rubrics/ecommerce_default.py` writes the request, `llm/judge.py` reads the answer
(github.com/asarnaout/veritail, version 0.5.1).
"""

import re
from typing import Any

from taosr_she.domain.domain import Domain
from taosr_she.judge.judgement import Judgement
from taosr_she.serve.judging import judged_label
from taosr_she.serve.replies import Refused
from taosr_she.serve.tool import Asked, explained, on_scale
from taosr_she.serve.waiting import Answer

HEADS = ("## Search Query\n", "## Original Search Query\n")
PRODUCT = "\n\n## Product\n- **Title**: "
AFTER_QUERY = ("\n\n## Corrected Search Query (used for retrieval)\n", "\n\n## Domain-Specific Scoring Guidance\n")
FIELDS = re.compile(
    r"(?P<title>.*?)\n- \*\*Description\*\*: (?P<description>.*?)\n- \*\*Category\*\*: (?P<category>.*?)"
    r"\n- \*\*Price\*\*: \$(?P<price>[-\d.]*)\n- \*\*In Stock\*\*: (?:Yes|No)\n- \*\*Position in Results\*\*: \d+"
    r"(?P<rest>.*)",
    re.DOTALL,
)
ATTRIBUTE = re.compile(r"^  - (?P<name>[^:\n]+): (?P<value>.*)$", re.MULTILINE)
SCALE = (0.0, 1.0, 2.0, 3.0)


def read(system: str, user: str, format: Any) -> Asked | None:
    """What veritail asks; None if this is not its request.

    The shopper's query is judged, not the correction that the engine made of it. The product is everything from the
    first product heading on, so no text of a product can become the query.
    """
    head = next((head for head in HEADS if user.startswith(head)), None)
    if head is None or PRODUCT not in user:
        return None
    before, _, after = user[len(head) :].partition(PRODUCT)
    for heading in AFTER_QUERY:
        before = before.partition(heading)[0]
    found = FIELDS.fullmatch(after)
    if found is None:
        raise Refused(422, "the product does not have veritail's lines: Title, Description, Category, Price, ...")
    document = {name: found[name].strip() for name in ("title", "description", "category", "price")}
    document = {name: value for name, value in document.items() if value}
    # Metadata, such as a stock number, is not shown to the model.
    listed = found["rest"].partition("- **Attributes**:")[2].partition("\n- **Metadata**:")[0]
    attributes = {line["name"].strip(): line["value"].strip() for line in ATTRIBUTE.finditer(listed)}
    product: dict[str, Any] = {**document, "attributes": attributes} if attributes else dict(document)

    def content(domain: Domain, answers: list[Answer]) -> str:
        judgement = judged_label(answers[0])
        assert judgement.label is not None
        lines = [f"SCORE: {on_scale(domain, judgement.label, SCALE):.0f}"]
        verdict = attribute_verdict(domain, judgement)
        if verdict is not None:
            lines.append(f"ATTRIBUTES: {verdict}")
        return "\n".join([*lines, f"REASONING: {explained(domain, judgement)}"])

    return Asked("veritail", before.strip(), [product], content)


def attribute_verdict(domain: Domain, judgement: Judgement) -> str | None:
    """veritail's word for the attribute step: match, partial, mismatch or n/a; None if the model wrote no such step."""
    spec = next((s for s in domain.steps if s.form == "fields" and {"match", "conflict"} <= set(s.choices)), None)
    text = judgement.steps.get(spec.key) if spec is not None else None
    if text is None:
        return None
    words = [value.strip() for part in text.split(";") if (value := part.partition(":")[2])]
    if not words:
        return "n/a"
    if all(word == "match" for word in words):
        return "match"
    return "partial" if "match" in words or "conflict" not in words else "mismatch"
