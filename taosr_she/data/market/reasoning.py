"""The rule book of the `taobao` domain as code: it decides every step and the label of an (ask, goods) pair.

Truth and teacher use the same function. A blind spot feeds it a wrong ask or a wrong product, so a flawed demonstration
is consistent in itself, as a person's would be.
"""

from dataclasses import dataclass

from taosr_she.data.market.lexicon import ACCESSORY_DEPARTMENT, KIND_DEPARTMENT

KEY_ORDER = ("brand", "color", "material", "feature", "price")


@dataclass(frozen=True)
class Constraint:
    """One thing that a query asks for besides the kind of product.

    `values` are alternatives; for `price` the single value is the budget. `origin` says how the query expresses it:
    stated, negation, alternatives, need, knowledge, budget.
    """

    key: str
    values: tuple[str, ...]
    negated: bool = False
    origin: str = "stated"

    def text(self) -> str:
        """The conclusion of the query step for this constraint, e.g. `material: not leather`."""
        value = f"under {self.values[0]}" if self.key == "price" else " or ".join(self.values)
        return f"{self.key}: {'not ' if self.negated else ''}{value}"


@dataclass(frozen=True)
class Ask:
    """The meaning of a query: a kind of product and constraints (at most one per key), in KEY_ORDER."""

    kind: str
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True)
class Goods:
    """The facts about a product. `values` has brand, color, material and feature as far as the seller states them."""

    kind: str
    values: tuple[tuple[str, str], ...]
    price: int

    def get(self, key: str) -> str | None:
        return str(self.price) if key == "price" else dict(self.values).get(key)


def relation(asked: str, offered: str) -> str:
    """same | near (kinds of one department) | accessory (of the asked kind's department) | other."""
    if asked == offered:
        return "same"
    department = KIND_DEPARTMENT[asked]
    if ACCESSORY_DEPARTMENT.get(offered) is department:
        return "accessory"
    return "near" if KIND_DEPARTMENT.get(offered) is department else "other"


def status(constraint: Constraint, goods: Goods) -> str:
    """match | partial | conflict | unknown (the seller does not say)."""
    value = goods.get(constraint.key)
    if value is None:
        return "unknown"
    if constraint.key == "price":
        budget = int(constraint.values[0])
        return "match" if goods.price <= budget else "partial" if goods.price <= budget * 1.2 else "conflict"
    if constraint.negated:
        return "conflict" if value in constraint.values else "match"
    if value in constraint.values:
        return "match"
    # "norvik lite" for "norvik": the shop treats sub-brands as separate product lines (rule R12).
    return "partial" if constraint.key == "brand" and value.split()[0] in constraint.values else "conflict"


def decide(rel: str, ask: Ask, statuses: tuple[str, ...]) -> tuple[str, str]:
    """(label, rule id) by the rule book of the `taobao` domain; the rules cover every case exactly once."""
    conflicts = [c for c, s in zip(ask.constraints, statuses, strict=True) if s == "conflict"]
    if rel == "other":
        return "1", "R1"
    if rel == "accessory":
        return "1", "R2"
    if rel == "near":
        return ("1", "R3") if conflicts else ("2", "R4")
    if any(c.negated for c in conflicts):
        return "1", "R5"
    if len(conflicts) >= 2:
        return "1", "R6"
    if conflicts:
        single = {"brand": ("2", "R7"), "price": ("2", "R8"), "feature": ("2", "R9"), "color": ("3", "R10")}
        return single.get(conflicts[0].key, ("3", "R11"))
    if "partial" in statuses:
        return "3", "R12"
    if "unknown" in statuses:
        return "3", "R13"
    return "4", "R14"


@dataclass(frozen=True)
class Reasoning:
    """The conclusion of every step, the label, and the rule that decided it."""

    steps: dict[str, str]
    label: str
    rule: str


def reason(ask: Ask, goods: Goods, rel: str | None = None, cite_rule: bool = False) -> Reasoning:
    """Reason through all steps. `rel` overrides the category relation, because a blind spot may see another one."""
    rel = rel or relation(ask.kind, goods.kind)
    statuses = tuple(status(c, goods) for c in ask.constraints)
    label, rule = decide(rel, ask, statuses)
    attributes = [f"{c.key}: {s}" for c, s in zip(ask.constraints, statuses, strict=True)]
    stated = [f"{key}: {value}" for key, value in goods.values]
    steps = {
        "query": "; ".join([f"category: {ask.kind}", *(c.text() for c in ask.constraints)]),
        "product": "; ".join([f"category: {goods.kind}", *stated, f"price: {goods.price}"]),
        "category": rel,
        "attributes": "; ".join(attributes) or "none",
        "label": f"{label} {rule}" if cite_rule else label,
    }
    return Reasoning(steps, label, rule)
