"""Agreement of annotators: raw agreement, Cohen's kappa, and outliers.

Annotators are compared on *items*: the reference of a step of a pair (its canonical conclusion) and the verdict on a
text of a step of a pair (correct or wrong). An annotator has one value per item, the latest one; abstentions are no
values. Decisions of a lead (`settled:...`) are left out: they were made with the verdicts of the others in view.

Kappa is Cohen's (1960): agreement beyond chance, where chance means two people who give each value as often as these
two do, but at random. Chance is computed within each step and kind, then summed: so over several steps, people get no
credit for telling one step from another.

**The outlier rule.** An annotator is named if they disagree with the majority of the others more than `margin` times
as often as the others do, beyond chance: one-sided exact test of the ratio of two Poisson rates (Przyborowski and
Wilenski, Biometrika 1940), Bonferroni-corrected for the number of annotators. The steps of a pair are not independent,
because someone who misreads a query errs in several steps. So a pair counts once, with the share of its items that
disagree, rounded in the annotator's favour. The margin is needed because with enough pairs any difference is beyond
chance, and a slightly less careful person is not an outlier.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from taosr_she.domain.annotation import ABSTAINS, is_reference, normal_text, strict_majority
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.majority import SETTLED, voices

ALL_STEPS = "all"


class Item(NamedTuple):
    """Something that annotators can agree on. `text` is the normal text of a verdict, None for a reference."""

    pair_id: str
    step: str
    text: str | None


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of two annotators on the items that both have judged."""

    first: str
    second: str
    step: str  # a step's key, or ALL_STEPS
    items: int
    raw: float  # share of the items with the same value
    kappa: float  # in [-1, 1]; NaN where both give one and the same value throughout, so that chance explains all
    weighted: float  # of the label step, quadratic weighted kappa over its grades (Cohen 1968); NaN for other steps
    base: (
        float  # share of `correct` among the verdicts of both; NaN for references. Kappa is low where it is near 0 or 1
    )


@dataclass(frozen=True, slots=True)
class AnnotatorReport:
    """One annotator and the majority of the others: more than half of those with a verdict on the item, and at least
    two, because if only two people differ, it is unknown which one is wrong."""

    annotator: str
    records: int
    unsure: int  # records that abstain
    items: int  # with a majority of the others
    pairs: int  # of these items
    agreement: float  # share of `items` that agree; NaN without items
    others_agreement: float  # the same for all other annotators together, each with the majority of their others
    p_value: float  # of the outlier rule, before correction
    outlier: bool


def pair_agreement(domain: Domain, annotations: Iterable[Annotation]) -> list[PairAgreement]:
    """Agreement of every two annotators who share an item: a row a step in schema order, then one over all steps."""
    by_annotator: dict[str, dict[Item, str]] = defaultdict(dict)
    for item, said in _values(domain, annotations).items():
        for annotator, value in said.items():
            by_annotator[annotator][item] = value
    rows = []
    for first, second in combinations(sorted(by_annotator), 2):
        a, b = by_annotator[first], by_annotator[second]
        shared = [item for item in a if item in b]
        for step in (*domain.step_keys, ALL_STEPS):
            chosen = [item for item in shared if step in (item.step, ALL_STEPS)]
            if chosen:
                raw, kappa = _raw_and_kappa([(_stratum(i), a[i], b[i]) for i in chosen])
                graded = step == domain.step_keys[domain.label_step]
                grades = [(a[i], b[i]) for i in chosen if i.text is None] if graded else []
                given = [value for i in chosen if i.text is not None for value in (a[i], b[i])]
                base = _share(given.count("correct"), len(given))
                rows.append(
                    PairAgreement(first, second, step, len(chosen), raw, kappa, _weighted(domain, grades), base)
                )
    return rows


def annotator_report(
    domain: Domain, annotations: Iterable[Annotation], alpha: float = 0.01, margin: float = 2.0
) -> list[AnnotatorReport]:
    """Every annotator compared with the others, by name; `outlier` follows the rule at the top of this file.

    `alpha` is the chance of naming anyone if all are alike. Needs items with verdicts by three people; for two, see
    `pair_agreement`.
    """
    listed = [a for a in annotations if not a.annotator.startswith(SETTLED)]
    tallies: dict[str, _Tally] = {a.annotator: _Tally() for a in listed}
    for a in listed:
        tallies[a.annotator].records += 1
        tallies[a.annotator].unsure += a.verdict in ABSTAINS
    for item, said in _values(domain, listed).items():
        for annotator, value in said.items():
            others = [v for other, v in said.items() if other != annotator]
            expected = strict_majority(others)
            if expected is not None and len(others) > 1:
                tallies[annotator].add(item.pair_id, value == expected)
    return [_report(name, tallies, alpha, margin) for name in sorted(tallies)]


def what_cannot_be_said(
    domain: Domain,
    annotations: Sequence[Annotation],
    reports: Sequence[AnnotatorReport],
    pairs: Sequence[PairAgreement],
) -> list[str]:
    """A sentence for each thing that `annotator_report` and `pair_agreement` leave open, and why."""
    notes = []
    strange = Counter(a.step for a in annotations if a.step not in domain.step_keys)
    if strange:
        notes.append(
            f"{sum(strange.values())} of {len(annotations)} records are left out: domain {domain.name} has no step "
            f"{', '.join(sorted(strange))}; is it the right --domain?"
        )
    unsure = [r.annotator for r in reports if r.records and r.unsure == r.records]
    if unsure:
        notes.append(f"always unsure, so with nothing to compare: {', '.join(unsure)}")
    overall = [p for p in pairs if p.step == ALL_STEPS]
    if len(reports) < 2:
        notes.append(
            f"agreement needs two annotators: all {len(annotations)} records are by "
            f"'{reports[0].annotator if reports else ''}'; let someone else annotate some of the same pairs"
        )
    elif not overall:
        notes.append(
            "no two annotators share an item (the reference of a step of a pair, or the same text of it), "
            "so nothing can be compared: give some pairs to two of them"
        )
    elif not any(r.items for r in reports):
        notes.append(
            "outliers cannot be found: this needs items with verdicts by three annotators, because if only two differ, "
            "it is unknown which one is wrong"
        )
    if any(math.isnan(p.kappa) for p in overall):
        notes.append(
            "kappa is unknown if both annotators give the same single value on all items of a step: they would agree "
            "as often by chance"
        )
    return notes


@dataclass
class _Tally:
    records: int = 0
    unsure: int = 0
    by_pair: dict[str, list[int]] = field(default_factory=dict)  # pair_id -> [items that disagree, items]

    def add(self, pair_id: str, agrees: bool) -> None:
        counts = self.by_pair.setdefault(pair_id, [0, 0])
        counts[0] += not agrees
        counts[1] += 1

    @property
    def items(self) -> int:
        return sum(n for _, n in self.by_pair.values())

    @property
    def disagreed(self) -> int:
        return sum(x for x, _ in self.by_pair.values())

    @property
    def pair_shares(self) -> float:
        """Disagreement in pairs: each counts with the share of its items."""
        return sum(x / n for x, n in self.by_pair.values())


def _report(name: str, tallies: dict[str, _Tally], alpha: float, margin: float) -> AnnotatorReport:
    own = tallies[name]
    others = [tally for other, tally in tallies.items() if other != name]
    p_value = _ratio_p_value(
        math.floor(own.pair_shares + 1e-9), len(own.by_pair),
        math.ceil(sum(t.pair_shares for t in others) - 1e-9), sum(len(t.by_pair) for t in others), margin,
    )  # fmt: skip
    return AnnotatorReport(
        annotator=name,
        records=own.records,
        unsure=own.unsure,
        items=own.items,
        pairs=len(own.by_pair),
        agreement=_share(own.items - own.disagreed, own.items),
        others_agreement=_share(sum(t.items - t.disagreed for t in others), sum(t.items for t in others)),
        p_value=p_value,
        outlier=p_value < alpha / len(tallies),
    )


def _ratio_p_value(x: int, n: int, others_x: int, others_n: int, margin: float) -> float:
    """P(at least x) if the rate x/n were `margin` times others_x/others_n: given their sum, x is binomial."""
    if x == 0 or others_n == 0:
        return 1.0
    from scipy.stats import binom

    share = margin * n / (margin * n + others_n)
    return float(binom.sf(x - 1, x + others_x, share))


def _values(domain: Domain, annotations: Iterable[Annotation]) -> dict[Item, dict[str, str]]:
    """item -> annotator -> value, without those who are unsure."""
    specs = {spec.key: spec for spec in domain.steps}
    known = (a for a in annotations if a.step in specs and not a.annotator.startswith(SETTLED))

    def value(a: Annotation) -> str:
        return canonical(domain, specs[a.step], a.conclusion) if is_reference(a) else a.verdict

    def item(a: Annotation) -> Item:
        return Item(a.pair_id, a.step, None if is_reference(a) else normal_text(a.conclusion))

    return {
        place: {name: value(a) for name, a in said.items() if a.verdict not in ABSTAINS}
        for place, said in voices(known, item).items()
    }


def _stratum(item: Item) -> tuple[str, bool]:
    return item.step, item.text is None


def _raw_and_kappa(rows: list[tuple[tuple[str, bool], str, str]]) -> tuple[float, float]:
    """Of (stratum, first's value, second's value)."""
    strata: dict[tuple[str, bool], list[tuple[str, str]]] = defaultdict(list)
    for stratum, a, b in rows:
        strata[stratum].append((a, b))
    agreed = sum(a == b for _, a, b in rows)
    by_chance = 0.0
    for values in strata.values():
        first, second = Counter(a for a, _ in values), Counter(b for _, b in values)
        by_chance += sum(count * second[value] for value, count in first.items()) / len(values)
    left = len(rows) - by_chance
    return agreed / len(rows), (agreed - by_chance) / left if left > 1e-9 else math.nan


def _weighted(domain: Domain, grades: list[tuple[str, str]]) -> float:
    """Quadratic weighted kappa of codes by their position on the scale; NaN without codes or if chance explains all."""
    place = {code: n for n, code in enumerate(domain.codes)}
    a, b = ([place[pair[i]] for pair in grades if set(pair) <= place.keys()] for i in (0, 1))
    apart = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    first, second = Counter(a), Counter(b)
    by_chance = sum(n * m * (x - y) ** 2 for x, n in first.items() for y, m in second.items()) / max(1, len(a))
    return 1 - apart / by_chance if by_chance else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
