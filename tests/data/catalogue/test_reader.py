"""Who knows what a query asks: people, the catalogue, usage, or only the tagger."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from taosr_she.data.catalogue.decide import Catalogue
from taosr_she.data.catalogue.queryner import read_marked
from taosr_she.data.catalogue.reader import Reader
from taosr_she.data.catalogue.tagger import Tagger
from taosr_she.domain.domain import CatalogueSpec, load_domain
from taosr_she.domain.pair import Product

CHORUS = load_domain("chorus")


def catalogue(*brands: str, kinds: Sequence[str] = ()) -> Catalogue:
    products = [Product("x", brand=brand) for brand in brands]
    products += [Product("x", attributes={"product type": kind}) for kind in kinds]
    return Catalogue.of(CatalogueSpec(types=("product type",)), products)


def test_the_source_of_every_piece(marked_file: Path) -> None:
    reader = Reader(CHORUS, list(read_marked(marked_file)), catalogue("nike", "adidas", kinds=["Running shoe"]))
    assert [(r.kind, r.by) for r in reader.read("Adidas shoe")] == [("brand", "people"), ("product type", "people")]
    assert [(r.kind, r.text, r.by) for r in reader.read("nike red shirts")] == [
        ("brand", "nike", "catalogue"), ("color", "red", "catalogue"), ("product type", "shirts", "usage"),
    ]  # fmt: skip
    assert [r.by for r in reader.read("red zeppelin")] == ["catalogue", "guess"]
    assert [r.by for r in reader.read("red shoes")] == ["catalogue", "catalogue"]


def test_of_held_out_queries_nothing_is_learnt(marked_file: Path) -> None:
    marked = list(read_marked(marked_file))
    held_out = {m.query for m in marked if "mug" in m.query}
    reader = Reader(CHORUS, marked, catalogue(), held_out)
    assert {r.by for r in reader.read("nike red mug 4")} == {"people"}  # read, for reference
    assert all(r.by == "guess" for r in reader.read("old mugs") if "mug" in r.text)
    assert [r.by for r in reader.read("blue shirt 99") if r.text == "shirt"] == ["usage"]


def test_the_tagger_learns_is_the_same_every_time_and_never_breaks_a_span() -> None:
    color, kind = "B-color", "B-core_product_type"
    shown = [
        (["red", "rain", "coat"], [color, kind, "I-core_product_type"]),
        (["blue", "rain", "coat"], [color, kind, "I-core_product_type"]),
        (["green", "mug"], [color, kind]), (["rain", "coat"], [kind, "I-core_product_type"]),
    ] * 5  # fmt: skip
    one, two = Tagger(shown, seed=3), Tagger(shown, seed=3)
    for words in (["green", "rain", "coat"], ["red", "mug"], ["coat", "coat", "red"]):
        tags = one.tag(words)
        assert tags == two.tag(words)
        assert all(t[:2] != "I-" or before[2:] == t[2:] for before, t in zip(["O", *tags], tags, strict=False))
    assert one.tag(["green", "rain", "coat"]) == [color, kind, "I-core_product_type"]
    with pytest.raises(ValueError, match="annotated queries"):
        Tagger([])
