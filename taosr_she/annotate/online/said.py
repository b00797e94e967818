"""What an answer says beyond the text it judges.

A closed step has one right conclusion. Who calls its text correct, or wrong with a correction, has said which, so the
answer verifies every rollout of the pair and is a reference. For the verdict `wrong` alone, and for free steps, only
the judged text is known.
"""

from collections.abc import Iterable
from dataclasses import replace

from taosr_she.domain.annotation import is_reference
from taosr_she.domain.conclusions import is_partial
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation


def with_references(domain: Domain, records: Iterable[Annotation]) -> list[Annotation]:
    """The records, each followed by the reference that it contains, if any."""
    closed = {spec.key: spec for spec in domain.steps if spec.kind == "closed"}
    found = []
    for record in records:
        found.append(record)
        if is_reference(record) or record.step not in closed:
            continue
        right = {"correct": record.conclusion, "wrong": record.correction}.get(record.verdict, "")
        if right.strip() and not is_partial(closed[record.step], right):
            found.append(replace(record, conclusion=right, verdict="correct", correction="", response_id=""))
    return found
