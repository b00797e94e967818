"""The meaning of queries and products in the market (their text comes later): what is asked and what is offered."""

from dataclasses import dataclass, replace
from random import Random

from taosr_she.data.market.lexicon import BRANDS, COLORS, DEPARTMENTS, KIND_DEPARTMENT, KNOWLEDGE, SUB_BRANDS
from taosr_she.data.market.reasoning import KEY_ORDER, Ask, Constraint, Goods, status

# Few enough that a tiny model often sees every pair of budget and price: comparing numbers is not the point here.
PRICES = range(10, 100, 10)
BUDGETS = (30, 50, 70)

# (key, origin, weight): how often a constraint is expressed this way. What is not `stated` is a hard kind.
_WAYS = (
    ("brand", "stated", 26), ("color", "stated", 24), ("color", "alternatives", 5), ("color", "negation", 2),
    ("material", "stated", 20), ("material", "negation", 3), ("material", "knowledge", 2), ("feature", "stated", 20),
    ("feature", "need", 5), ("price", "budget", 5),
)  # fmt: skip
_HOW_MANY = ((0, 6), (1, 40), (2, 38), (3, 16))  # (number of constraints, weight)
_RELATIONS = (("same", 62), ("near", 16), ("accessory", 8), ("other", 14))


@dataclass(frozen=True)
class Popularity:
    """Zipf weights over kinds: `weights[i]` belongs to `kinds[i]`; most popular first."""

    kinds: tuple[str, ...]
    weights: tuple[float, ...]

    def place(self, kind: str) -> str:
        """head (first quarter), torso, or tail (last half)."""
        rank = self.kinds.index(kind)
        return "head" if rank < len(self.kinds) / 4 else "tail" if rank >= len(self.kinds) / 2 else "torso"


def popularity(seed: int, exponent: float, departments: int) -> Popularity:
    """Which kinds are popular in a market that sells the first `departments` departments."""
    kinds = [words[0] for department in DEPARTMENTS[:departments] for words in department.kinds]
    Random(f"popularity {seed}").shuffle(kinds)
    return Popularity(tuple(kinds), tuple(1 / (rank + 1) ** exponent for rank in range(len(kinds))))


def draw_ask(rng: Random, popular: Popularity, hard: float) -> Ask:
    """The meaning of one query: a kind drawn by popularity, and zero to three constraints on different keys.

    `hard` multiplies the weights of the hard kinds (negation, alternatives, knowledge, need, budget).
    """
    weights = [w if origin == "stated" else w * hard for _, origin, w in _WAYS]
    kind = rng.choices(popular.kinds, popular.weights)[0]
    wanted = rng.choices([n for n, _ in _HOW_MANY], [w for _, w in _HOW_MANY])[0]
    constraints: dict[str, Constraint] = {}
    while len(constraints) < wanted:
        key, origin, _ = rng.choices(_WAYS, weights)[0]
        if key not in constraints:
            constraint = _draw_constraint(rng, kind, key, origin)
            if constraint is not None:
                constraints[key] = constraint
    return Ask(kind, tuple(constraints[key] for key in KEY_ORDER if key in constraints))


def _draw_constraint(rng: Random, kind: str, key: str, origin: str) -> Constraint | None:
    department = KIND_DEPARTMENT[kind]
    if key == "price":
        return Constraint(key, (str(rng.choice(BUDGETS)),), origin=origin)
    if key == "brand":
        return Constraint(key, (rng.choice(BRANDS),), origin=origin)
    values = {"color": [c[0] for c in COLORS], "material": department.materials, "feature": department.features}[key]
    if origin == "knowledge":
        excluded = [m for m in KNOWLEDGE.values() if m in department.materials]
        return Constraint(key, (rng.choice(excluded),), negated=True, origin=origin) if excluded else None
    if origin == "alternatives":
        return Constraint(key, tuple(rng.sample(list(values), 2)), origin=origin)
    return Constraint(key, (rng.choice(list(values)),), negated=origin == "negation", origin=origin)


def draw_goods(rng: Random, ask: Ask, satisfy: float, popular: Popularity) -> Goods:
    """One product shown for the query. Its relation is drawn from `_RELATIONS`; each constraint is met with probability
    `satisfy`.

    If a constraint is not met, the product conflicts, comes close (sub-brand, slightly over budget) or does not say.
    """
    rel = rng.choices([r for r, _ in _RELATIONS], [w for _, w in _RELATIONS])[0]
    kind = _related_kind(rng, ask.kind, rel, popular)
    department = KIND_DEPARTMENT.get(kind) or KIND_DEPARTMENT[ask.kind]
    values: dict[str, str] = {
        "brand": rng.choice(BRANDS) + (f" {rng.choice(SUB_BRANDS)}" if rng.random() < 0.12 else ""),
        "color": rng.choice(COLORS)[0],
        "material": rng.choice(department.materials),
        "feature": rng.choice(department.features),
    }
    for key in list(values):
        if rng.random() < 0.12:
            del values[key]
    goods = Goods(kind, tuple(values.items()), rng.choice(PRICES))
    for constraint in ask.constraints:
        wish = "match" if rng.random() < satisfy else rng.choice(("conflict", "partial", "unknown"))
        goods = _steer(rng, goods, constraint, wish)
    return goods


def _related_kind(rng: Random, asked: str, rel: str, popular: Popularity) -> str:
    department = KIND_DEPARTMENT[asked]
    if rel == "same":
        return asked
    if rel == "accessory":
        return rng.choice(department.accessories)
    if rel == "near":
        return rng.choice([words[0] for words in department.kinds if words[0] != asked])
    return rng.choice([kind for kind in popular.kinds if KIND_DEPARTMENT[kind] is not department])


def _steer(rng: Random, goods: Goods, constraint: Constraint, wish: str) -> Goods:
    """The product, changed to give `constraint` the status `wish` (or the closest one possible for its key)."""
    key = constraint.key
    if key == "price":
        wish = "conflict" if wish == "unknown" else wish
        prices = [p for p in PRICES if status(constraint, replace(goods, price=p)) == wish]
        return replace(goods, price=rng.choice(prices)) if prices else goods
    if wish == "unknown":
        return replace(goods, values=tuple((k, v) for k, v in goods.values if k != key))
    if key == "brand" and wish == "partial":
        return _with(goods, key, f"{constraint.values[0]} {rng.choice(SUB_BRANDS)}")
    department = KIND_DEPARTMENT.get(goods.kind)
    pool = {
        "brand": list(BRANDS),
        "color": [c[0] for c in COLORS],
        "material": list(department.materials) if department else list(DEPARTMENTS[0].materials),
        "feature": list(department.features) if department else list(DEPARTMENTS[0].features),
    }[key]
    inside = (wish == "match") != constraint.negated
    fitting = list(constraint.values) if inside else [v for v in pool if v not in constraint.values]
    return _with(goods, key, rng.choice(fitting))


def _with(goods: Goods, key: str, value: str) -> Goods:
    values = {**dict(goods.values), key: value}
    return replace(goods, values=tuple((k, values[k]) for k in KEY_ORDER if k in values))
