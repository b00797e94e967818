"""People's annotations in files of other kinds: annotated queries, and pairs with several people's grades."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from taosr_she.base.errors import UserError
from taosr_she.data.catalogue.queryner import read_marked, reading_annotations
from taosr_she.data.catalogue.requirement import query_step
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation

PeopleLayout = Literal["queryner", "raters"]


def people_of(path: Path, layout: PeopleLayout, domain: Domain, pairs: Path | None = None) -> list[Annotation]:
    """References by people.

    `queryner`: every person's annotation of a query, as the query step of all `pairs` with this query; without `pairs`,
    of the query itself, with `query_key` as its pair_id. `raters`: the label step of every pair by each of its raters,
    `rater-1` and so on, in the order of the file. Raises UserError for a file without any, or if the domain has no step
    for them.
    """
    if layout == "raters":
        found = list(_by_raters(path, domain))
        return found or _nothing(path, "no pair has raters: their column is `raters`")
    spec = query_step(domain)
    if spec.form != "fields" or not spec.keys:
        raise UserError(
            f"--layout queryner: the first step of domain '{domain.name}' has no keys for people's tags; use "
            "--domain chorus, esci-typed, or one with such a step"
        )
    asked = load_pairs(pairs, domain).pairs if pairs else None
    found = list(reading_annotations(domain, read_marked(path), asked))
    return found or _nothing(path, f"none of its queries is in {pairs}")


def _by_raters(path: Path, domain: Domain) -> Iterator[Annotation]:
    step = domain.step_keys[domain.label_step]
    for pair in load_pairs(path, domain).pairs:
        for number, grade in enumerate(pair.raters, start=1):
            yield Annotation(pair.pair_id, step, grade, annotator=f"rater-{number}")


def _nothing(path: Path, why: str) -> list[Annotation]:
    raise UserError(f"{path}: no annotations by people ({why})")
