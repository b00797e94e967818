"""Quepid's AI judge: one query with one document, answered by JSON with `judgment` and `explanation`.

The forms are those of its source: `app/services/llm_judge_adapters/base.rb` and `open_ai.rb` write the request and read
the answer, `app/models/judge_scale.rb` describes the book's scale (github.com/o19s/quepid, November 2026).
"""

import json
import re
from typing import Any

import yaml

from taosr_she.domain.domain import Domain
from taosr_she.serve.judging import judged_label
from taosr_she.serve.replies import Refused
from taosr_she.serve.tool import Asked, explained, on_scale
from taosr_she.serve.waiting import Answer

DOCUMENT = re.compile(r"\n\ndoc\d+:\n")
SCALE = re.compile(r"This book's rating scale is: (.*?)\. The quoted labels above", re.DOTALL)
LABEL = re.compile(r'\(labeled "(?:[^"\\]|\\.)*"\)')
DEFAULT_SCALE = (0.0, 1.0, 2.0, 3.0)
"""The scale of Quepid's default system prompt."""
LONGEST = 200_000
"""Characters of a document that are read."""


def read(system: str, user: str, format: Any) -> Asked | None:
    """What Quepid asks; None if this is not its request. The document is the last one in the text, where YAML begins:
    in the values of YAML, no line begins like that."""
    places = list(DOCUMENT.finditer(user))
    if not user.startswith("Query: ") or not places:
        return None
    place = places[-1]
    query = user[len("Query: ") : place.start()].strip()
    document = _document(user[place.end() :])
    scale = _scale(system)

    def content(domain: Domain, answers: list[Answer]) -> str:
        judgement = judged_label(answers[0])
        assert judgement.label is not None
        value = on_scale(domain, judgement.label, scale)
        rating = int(value) if value == int(value) else value
        return json.dumps({"judgment": rating, "explanation": explained(domain, judgement)})

    return Asked("quepid", query, [document], content)


def _document(text: str) -> dict[str, Any]:
    """The document's fields: Ruby's YAML, of which every scalar is read as text."""
    if len(text) > LONGEST:
        raise Refused(422, f"the document has {len(text)} characters, at most {LONGEST} are read")
    try:
        # The head of the document, alone, is indented by the heredoc. The base loader builds only texts, lists, maps.
        fields = yaml.load(text.lstrip(" "), getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise Refused(422, "the document after `doc1:` is not YAML") from error
    if not isinstance(fields, dict):
        raise Refused(422, "the document after `doc1:` has no fields")
    return {str(name): _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """A text, or texts joined. Deeper values are left out: aliases could make them endless."""
    if isinstance(value, list):
        return ", ".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else None


def _scale(system: str) -> tuple[float, ...]:
    """The values that the book allows, in increasing order."""
    found = SCALE.search(system)
    if found is None:
        return DEFAULT_SCALE
    try:
        values = sorted(float(part) for part in LABEL.sub("", found[1]).split(",") if part.strip())
    except ValueError as error:
        raise Refused(422, f"the book's rating scale cannot be read: {found[1][:80]}") from error
    return tuple(values) or DEFAULT_SCALE
