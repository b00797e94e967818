"""OpenSearch's search-relevance plug-in: one query with several hits, answered by a rating for every hit.

The forms are those of its source: `MLConstants.java` and `UserPromptFactory.java` write the request,
`RatingOutputProcessor.java` reads the answer (github.com/opensearch-project/search-relevance, November 2026). Older
versions want an array, newer ones an object with `ratings`, and read both.
"""

import json
from typing import Any

from taosr_she.domain.domain import Domain
from taosr_she.serve.replies import Refused, unit
from taosr_she.serve.tool import Asked
from taosr_she.serve.waiting import Answer, Problem

FORMS = (("SearchText - ", "; Hits - "), ("SearchText: ", "; Hits: "))
REFERENCE = "; Reference: "
MOST_TRIES = 20


def read(system: str, user: str, format: Any) -> Asked | None:
    """What OpenSearch asks; None if this is not its request.

    A hit that cannot be judged gets no rating: the plug-in then reports it as missing. A reference, which is an answer
    that the tester expects, is not shown to the model.
    """
    for head, middle in FORMS:
        if user.startswith(head) and middle in user:
            query, hits = _split(user[len(head) :], middle)
            if head == "SearchText: ":
                query = query.partition(REFERENCE)[0]
            break
    else:
        return None
    schema = isinstance(format, dict) and format.get("type") in ("json_schema", "json_object")
    wrapped = schema or '"ratings"' in system
    binary = "IRRELEVANT" in system or "IRRELEVANT" in json.dumps(format)
    five = "Score 5" in system

    def content(domain: Domain, answers: list[Answer]) -> str:
        ratings = []
        for hit, answer in zip(hits, answers, strict=True):
            if isinstance(answer, Problem) or answer.label is None or answer.expected_grade is None:
                continue
            score: Any = unit(domain.grade_values, answer.expected_grade)
            if binary:
                score = "RELEVANT" if answer.label in domain.good_codes else "IRRELEVANT"
            elif five:
                score = 1 + 4 * score
            ratings.append({"id": hit["id"], "rating_score": score})
        if not ratings:
            first = answers[0]
            raise Refused(422, f"no hit can be judged: {first.line if isinstance(first, Problem) else first.reason}")
        return json.dumps({"ratings": ratings} if wrapped else ratings)

    return Asked("opensearch", query.strip(), [_source(hit) for hit in hits], content)


def _split(text: str, middle: str) -> tuple[str, list[dict[str, Any]]]:
    """Query and hits. The query may contain `middle`; the right place is the one after which all is JSON."""
    place = -1
    for _ in range(MOST_TRIES):
        place = text.find(middle, place + 1)
        if place < 0:
            break
        try:
            hits = json.loads(text[place + len(middle) :])
        except (ValueError, RecursionError):
            continue
        if isinstance(hits, list) and hits and all(isinstance(h, dict) and "id" in h and "source" in h for h in hits):
            return text[:place], hits
    raise Refused(422, 'the hits after "Hits" are not a JSON array of objects with id and source')


def _source(hit: dict[str, Any]) -> Any:
    """The hit's fields: `source` is their JSON as text. A text that is no JSON is the title."""
    source = hit["source"]
    if isinstance(source, str):
        try:
            fields = json.loads(source)
        except (ValueError, RecursionError):
            return source
        return fields if isinstance(fields, dict) else source
    return source
