"""What annotators see: the domain, and an item. Control characters in texts are written out."""

from collections.abc import Mapping, Sequence
from typing import Any

from taosr_she.annotate.items import Item
from taosr_she.annotate.wire import Grade, Guideline, Option, Rule, Said, ShownField, ShownItem, ShownStep, StepShape
from taosr_she.base.escape import plain
from taosr_she.domain.domain import Domain, ProductField, StepSpec
from taosr_she.domain.pair import Product


def guideline(domain: Domain, text: str) -> Guideline:
    """The rule book, with the lead's own text."""
    return Guideline(
        version=plain(domain.guideline_version),
        domain=plain(domain.name),
        text=plain(text),
        grades=[Grade(code=g.code, name=plain(g.name), meaning=plain(g.meaning)) for g in domain.labels],
        rules=[Rule(id=plain(r.id), grade=r.grade, text=plain(r.text)) for r in domain.rules],
    )


def step_shapes(domain: Domain) -> list[StepShape]:
    """What every step may conclude."""
    return [
        StepShape(
            key=spec.key, title=plain(spec.title), guide=plain(spec.guide), kind=spec.kind, form=spec.form,
            options=_options(domain, spec), keys=list(spec.keys),
        )
        for spec in domain.steps
    ]  # fmt: skip


def shown_item(domain: Domain, number: int, item: Item, said: Mapping[str, Sequence[Any]]) -> ShownItem:
    """The item for one annotator; `said` has their own answers by step, latest last."""
    return ShownItem(
        id=number,
        kind=item.kind,
        query_heading=plain(domain.prompt.query_heading),
        query=plain(item.pair.query),
        locale=plain(item.pair.locale),
        fields=[shown for field in domain.prompt.fields if (shown := _field(item.pair.product, field))],
        steps=[_step(item, key, place, said) for place, key in enumerate(domain.step_keys) if _has(item, key)],
    )


def _has(item: Item, key: str) -> bool:
    return item.kind == "verdict" or key in item.asked


def _step(item: Item, key: str, place: int, said: Mapping[str, Sequence[Any]]) -> ShownStep:
    text, mine = item.text(place), said.get(key)
    last = mine[-1] if mine else None
    return ShownStep(
        key=key,
        text=None if text is None else plain(text),
        asked=key in item.asked,
        said=last
        and Said(key=last.key, verdict=last.verdict, conclusion=plain(last.conclusion), note=plain(last.note)),
        critique=plain(item.critiques[key]) if item.offered == "shown" and key in item.critiques else None,
    )


def _options(domain: Domain, spec: StepSpec) -> list[Option]:
    if spec.form == "label":
        return [Option(value=g.code, name=plain(g.name)) for g in domain.labels]
    return [Option(value=choice, name="") for choice in spec.choices]


def _field(product: Product, field: ProductField) -> ShownField | None:
    """The whole field, folded where the model's prompt cuts it; None if it is empty."""
    rows: list[tuple[str, str]] = []
    text = ""
    if field.name == "attributes":
        shown = [key for key in field.only or product.attributes if key in product.attributes]
        rows = [(plain(key), plain(product.attributes[key])) for key in shown]
    elif field.name == "price":
        text = "" if product.price is None else f"{product.price:.2f}".removesuffix(".00")
    else:
        text = plain(str(getattr(product, field.name))).strip()
    if not rows and not text:
        return None
    return ShownField(heading=plain(field.heading), text=text, rows=rows, fold=field.max_chars)
