"""Named corruptions: a right response made wrong in one known step, so that a GSRM learns to detect errors.

| kind | what happens | wrong step |
| --- | --- | --- |
| `dropped_constraint` | a requirement of the query is left out | first |
| `lost_qualifier` | "not leather" becomes "leather", "red or blue" "red", "norvik lite" "norvik" | first or second |
| `invented_attribute` | the product gets an attribute that is not in the pair | second |
| `wrong_value` | a value becomes another one of its kind, e.g. a wrong synonym | first or second |
| `wrong_relation` | another choice, e.g. `near` for `same` | the `choice` step |
| `wrong_status` | another status of a checked attribute, e.g. `match` for `conflict` | the `fields` step with choices |
| `rule_misapplied` | the nearest grade that some wrong rule leads to; cites the rule if labels cite rules | label |
| `label_not_following` | a grade on the other side of good, which does not follow from the steps | label |

First and second are the first two closed steps without a finite set of conclusions (in the shipped domains: query
and product). The other steps keep their text and stay right: the verdict of a step depends on its own conclusion, not
on the steps before it. Only closed steps are corrupted, and a change that keeps the conclusion does not count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from taosr_she.domain.conclusions import canonical, parse_fields
from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.response import label_words

Steps = dict[str, str]
"""Step key -> text, for all K steps of a response."""


@dataclass(frozen=True)
class Words:
    """The values in a domain's steps, from which plausible errors are drawn.

    `values` maps field keys to the values seen; the words of a step without fields are under the step's key.
    """

    domain: Domain
    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def collect(cls, domain: Domain, responses: Iterable[Steps]) -> "Words":
        """From many responses, right or not. Sorted: the same responses give the same errors."""
        seen: dict[str, set[str]] = {}
        for steps in responses:
            for spec in statements(domain):
                for key, value in _items(spec, steps[spec.key]):
                    seen.setdefault(key, set()).add(value)
        return cls(domain, {key: tuple(sorted(values - {""})) for key, values in sorted(seen.items())})


Corruption = Callable[[Steps, Random, Words], Steps | None]


def statements(domain: Domain) -> list[StepSpec]:
    """The closed steps with an open set of conclusions: the query, then the product."""
    return [s for s in domain.steps if s.kind == "closed" and s.form in ("text", "fields") and not s.choices]


def corrupt(kind: str, steps: Steps, rng: Random, words: Words) -> tuple[Steps, tuple[str, ...]] | None:
    """A copy of right `steps` with the error `kind`, and the keys of the steps that are now wrong.

    None if the kind does not apply to these steps, or would not change the conclusion.
    """
    changed = CORRUPTIONS[kind](steps, rng, words)
    if changed is None:
        return None
    wrong = tuple(
        spec.key
        for spec in words.domain.steps
        if canonical(words.domain, spec, changed[spec.key]) != canonical(words.domain, spec, steps[spec.key])
    )
    return (changed, wrong) if wrong else None


def dropped_constraint(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """The first item is the requested kind of product; any other may be dropped."""
    spec = _statement(words, 0)
    if spec is None:
        return None
    items = _items(spec, steps[spec.key])
    if len(items) < 2:
        return None
    del items[rng.randrange(1, len(items))]
    return _with(steps, spec, items)


def lost_qualifier(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """Values of more than one word lose what turns, widens or narrows them."""
    found = []
    for spec in statements(words.domain)[:2]:
        if spec.form != "fields":
            continue
        items = _items(spec, steps[spec.key])
        found += [(spec, items, i) for i, (_, value) in enumerate(items) if " " in value]
    if not found:
        return None
    spec, items, i = rng.choice(found)
    key, value = items[i]
    if value.startswith("not "):
        items[i] = (key, value.removeprefix("not "))
    elif " or " in value:
        items[i] = (key, rng.choice(value.split(" or ")))
    else:
        items[i] = (key, value.rsplit(" ", 1)[0])
    return _with(steps, spec, items)


def invented_attribute(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """A field that the product has not got (or, in free form, a word), with a value that others have."""
    spec = _statement(words, 1)
    if spec is None:
        return None
    items = _items(spec, steps[spec.key])
    taken = {key for key, _ in items} if spec.form == "fields" else set()
    own = [spec.key] if spec.form == "text" else [key for key in words.values if key not in taken]
    keys = [key for key in own if words.values.get(key)]
    if not keys:
        return None
    key = rng.choice(keys)
    items.insert(rng.randint(1, len(items)) if items else 0, (key, rng.choice(words.values[key])))
    return _with(steps, spec, items)


def wrong_value(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """One value becomes another that the same key has elsewhere."""
    found = []
    for spec in statements(words.domain)[:2]:
        items = _items(spec, steps[spec.key])
        found += [(spec, items, i) for i, (key, value) in enumerate(items) if value and words.values.get(key)]
    if not found:
        return None
    spec, items, i = rng.choice(found)
    others = [value for value in words.values[items[i][0]] if value != items[i][1]]
    if not others:
        return None
    items[i] = (items[i][0], rng.choice(others))
    return _with(steps, spec, items)


def wrong_relation(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """Another of the step's choices."""
    spec = next((s for s in words.domain.steps if s.form == "choice" and s.kind == "closed"), None)
    if spec is None:
        return None
    others = [choice for choice in spec.choices if choice != steps[spec.key]]
    return {**steps, spec.key: rng.choice(others)} if others else None


def wrong_status(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """One checked attribute gets another status."""
    spec = next((s for s in words.domain.steps if s.form == "fields" and s.choices and s.kind == "closed"), None)
    if spec is None:
        return None
    items = _items(spec, steps[spec.key])
    checked = [i for i, (_, value) in enumerate(items) if value]
    if not checked:
        return None
    i = rng.choice(checked)
    others = [choice for choice in spec.choices if choice != items[i][1]]
    if not others:
        return None
    items[i] = (items[i][0], rng.choice(others))
    return _with(steps, spec, items)


def rule_misapplied(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """The label follows a wrong rule: the one whose grade lies nearest, as an honest slip would."""
    codes, key = words.domain.codes, words.domain.steps[words.domain.label_step].key
    code = words.domain.parse_label(" ".join(label_words(steps[key])[:1]))
    rules = [rule for rule in words.domain.rules if rule.grade != code]
    if code is None or not rules:
        return None
    distance = {rule.id: abs(codes.index(rule.grade) - codes.index(code)) for rule in rules}
    rule = rng.choice([rule for rule in rules if distance[rule.id] == min(distance.values())])
    cites = len(label_words(steps[key])) > 1
    return {**steps, key: f"{rule.grade} {rule.id}" if cites else rule.grade}


def label_not_following(steps: Steps, rng: Random, words: Words) -> Steps | None:
    """Good becomes bad, or bad good; the rules cited stay."""
    key = words.domain.steps[words.domain.label_step].key
    first, *cited = label_words(steps[key]) or [""]
    code = words.domain.parse_label(first)
    good = words.domain.good_codes
    others = [c for c in words.domain.codes if (c in good) != (code in good)]
    if code is None or not others:
        return None
    return {**steps, key: " ".join([rng.choice(others), *cited])}


CORRUPTIONS: dict[str, Corruption] = {
    "dropped_constraint": dropped_constraint,
    "lost_qualifier": lost_qualifier,
    "invented_attribute": invented_attribute,
    "wrong_value": wrong_value,
    "wrong_relation": wrong_relation,
    "wrong_status": wrong_status,
    "rule_misapplied": rule_misapplied,
    "label_not_following": label_not_following,
}
"""All kinds by name."""


def _statement(words: Words, place: int) -> StepSpec | None:
    found = statements(words.domain)
    return found[place] if place < len(found) else None


def _items(spec: StepSpec, text: str) -> list[tuple[str, str]]:
    """(field key, value), or (step key, word) of a step in free form."""
    return parse_fields(text) if spec.form == "fields" else [(spec.key, word) for word in text.split()]


def _with(steps: Steps, spec: StepSpec, items: list[tuple[str, str]]) -> Steps:
    if spec.form == "fields":
        text = "; ".join(f"{key}: {value}" if value else key for key, value in items)
    else:
        text = " ".join(word for _, word in items)
    return {**steps, spec.key: text}
