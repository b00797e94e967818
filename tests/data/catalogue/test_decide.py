"""Match, conflict, unstated, undecided: every rule, and what it must leave open."""

import pytest

from taosr_she.data.catalogue.decide import Catalogue, Offer, decide
from taosr_she.data.catalogue.requirement import Requirement
from taosr_she.domain.domain import CatalogueSpec
from taosr_she.domain.pair import Product

SPEC = CatalogueSpec(units={"screen": "in", "memory": "gb", "per pack": "count"}, types=("type",), colors=("color",))
SHOP = Catalogue(SPEC, frozenset({"nike", "adidas", "blackdecker", "disney", "otterbox"}))


def verdict(kind: str, text: str, title: str, **fields: object) -> str | None:
    product = Product(title, **fields)  # type: ignore[arg-type]
    return decide(Requirement(kind, text, "people"), Offer(product, SPEC), SHOP)


@pytest.mark.parametrize(
    ("asked", "title", "fields", "said"),
    [
        ("nike", "Running shoe", {"brand": "NIKE"}, "match"),
        ("black & decker", "Drill", {"brand": "BLACK+DECKER"}, "match"),
        ("nike", "Running shoe", {"brand": "Nike Kids"}, "match"),
        ("yeti", "YETI Rambler", {}, "match"),
        ("nike", "Nike shoe laces", {"brand": "Lacefix"}, None),  # a title may begin with what it is for
        ("nike", "Running shoe", {"brand": "Adidas"}, "conflict"),
        ("nike", "Running shoe, like Nike", {"brand": "Adidas"}, None),  # mentioned: whose is it?
        ("nike", "Running shoe", {"brand": "Adidas", "description": "for nike fans"}, None),
        ("nikke", "Running shoe", {"brand": "Adidas"}, None),  # the catalogue knows no such brand
        ("adidas", "Running shoe", {"brand": "addidas"}, None),  # one name misspelt
        ("disney", "Cinderella costume", {"brand": "Disguise"}, None),  # others make products for it
        ("nike", "Running shoe", {}, "unstated"),
    ],
)
def test_brand(asked: str, title: str, fields: dict[str, object], said: str | None) -> None:
    assert verdict("brand", asked, title, **fields) == said


@pytest.mark.parametrize(
    ("asked", "title", "color", "said"),
    [
        ("blue", "Shirt", "Navy Blue", "match"), ("grey", "Shirt", "Gray", "match"), ("coral", "Cup", "Coral", "match"),
        ("red", "Shirt", "Blue", "conflict"), ("red", "Shirt", "Black/White", "conflict"),
        ("red", "Red shirt", "Blue", None),  # title and field differ
        ("pink", "Shirt", "Red", None),  # near
        ("navy", "Shirt", "Blue", None),  # a shade
        ("red", "Shirt", "Charcoal", None),  # what color is that
        ("red", "Shirt", "Multicolor", None),
        ("red", "Red shirt", "", "match"), ("red", "Shirt", "", "unstated"), ("red", "Blue shirt", "", None),
    ],
)  # fmt: skip
def test_color(asked: str, title: str, color: str, said: str | None) -> None:
    assert verdict("color", asked, title, attributes={"color": color} if color else {}) == said


@pytest.mark.parametrize(
    ("kind", "asked", "title", "fields", "said"),
    [
        ("size", '15.6"', "Notebook 39.6 cm", {}, "match"),
        ("size", "15.6 inch", "Notebook", {"attributes": {"screen": "15.6"}}, "match"),
        ("size", "20 ft", "16-Foot trampoline", {}, "conflict"),
        ("size", "20 ft", "16-Foot trampoline", {"description": "also as 20 ft"}, None),
        ("size", "2 inch", "Frame 8x10 inch, 3 inch wide", {}, None),
        ("size", "16 gb", "Laptop 8 GB RAM", {}, None),  # memory or storage?
        ("size", "64gb", "SD card 128 GB", {}, "conflict"),
        ("size", "100 mg", "Iron supplement", {}, "unstated"),
        ("size", "8x10", "Frame 8 x 10 inch", {}, "match"),
        ("size", "8x10", "Frame 11x14, matted 5x7", {}, None),
        ("size", "7l 2.0", "Pack with 2 l bladder", {}, None),  # a name
        ("size", "21mm", "22mm band, choose 18mm, 20mm or 21mm", {}, None),
        ("size", "30 ml", "Drops 1 fl oz", {}, None),  # nearly the same
        ("size", "queen", "Sheets, queen", {}, "match"),
        ("size", "large", "Coat for small medium large dogs", {}, None),
        ("quantity", "2 pack", "Towels (pack of 2)", {}, "match"),
        ("quantity", "12 pack", "Ornament 1 pc", {}, "conflict"),
        ("quantity", "2x", "Batteries", {"attributes": {"per pack": "2"}}, "match"),
        ("quantity", "4 pack", "Paddle set, 4 paddles", {}, None),
        ("price", "under $50", "Mug", {"price": 49.0}, "match"),
        ("price", "under 50 dollars", "Mug", {"price": 51.0}, "conflict"),
        ("price", "under 50", "Mug", {}, "unstated"),
        ("price", "cheap", "Mug", {"price": 1.0}, None),
    ],
)
def test_amounts(kind: str, asked: str, title: str, fields: dict[str, object], said: str | None) -> None:
    assert verdict(kind, asked, title, **fields) == said


@pytest.mark.parametrize(
    ("kind", "asked", "title", "fields", "said"),
    [
        ("for", "womens", "Ladies' dress", {}, "match"),
        ("for", "men", "Women's sandal", {}, "conflict"),
        ("for", "men", "Women's sandal", {"description": "as for men"}, "match"),
        ("for", "kids", "Women's sandal", {}, None),
        ("for", "women", "Watch", {}, "unstated"),
        ("model", "playstation 4", "Sony PlayStation 4 Pro", {"brand": "Sony"}, "match"),
        ("model", "iphone xr", "Spigen iPhone XR Case", {"brand": "Spigen"}, None),
        ("model", "iphone xr", "Charger for iPhone XR", {"brand": "Spigen"}, None),
        ("feature", "bluetooth", "Speaker", {"attributes": {"bluetooth": "true"}}, "match"),
        ("feature", "bluetooth", "Speaker", {"attributes": {"bluetooth": "false"}}, "conflict"),
        ("feature", "aa", "Battery", {"attributes": {"battery type": "AA, AAA"}}, "match"),
        ("feature", "waterproof", "Waterproof boots", {}, "match"),
        ("feature", "waterproof", "Boots", {"description": "waterproof"}, None),
        ("feature", "waterproof", "Boots, not waterproof", {}, None),
        ("feature", "without leather", "Boots without leather", {}, None),
        ("material", "leather", "Faux leather bag", {}, None),
        ("material", "leather", "Leather bag", {}, "match"),
        ("shape", "ring", "Beads and key rings", {}, None),
    ],
)
def test_words(kind: str, asked: str, title: str, fields: dict[str, object], said: str | None) -> None:
    assert verdict(kind, asked, title, **fields) == said
