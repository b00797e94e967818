"""Same or accessory, where the catalogue says so; nothing else."""

import pytest

from taosr_she.data.catalogue.category import decide_category
from taosr_she.data.catalogue.decide import Offer
from taosr_she.data.catalogue.requirement import Requirement
from taosr_she.domain.domain import CatalogueSpec
from taosr_she.domain.pair import Product

SPEC = CatalogueSpec(types=("product type",))


def said(asked: str, title: str, kind: str = "", category: str = "", key: str = "product type") -> str | None:
    product = Product(title, category=category, attributes={"product type": kind} if kind else {})
    return decide_category((Requirement(key, asked, "people"),), Offer(product, SPEC))


@pytest.mark.parametrize(
    ("asked", "title", "kind", "found"),
    [
        ("digital camera", "Denver KCA-1320", "Kids digital camera", "same"),
        ("headphones", "Philips SHP2000", "Headphones", "same"),
        ("laptop", "Kensington 15.6", "Laptop case", "accessory"),
        ("laptop case", "Kensington 15.6", "Laptop case", "same"),
        ("headset", "Philips SHP2000", "Headphones", None),  # synonyms take knowledge
        ("headphones", "Philips In-Ear Headphones", "", "same"),
        ("mouse", "HP Wireless Mouse, Black", "", "same"),
        ("keyboard", "CHERRY WetEx Keyboard Cover", "", "accessory"),
        ("ipad", "Kensington Sleeve for iPad", "", "accessory"),
        ("led lights", "Karaoke microphone with LED lights", "", None),
        ("printer", "HP exchange printer service", "", None),
        ("mask", "Activated carbon filters, fit for masks", "", None),
        ("phone charger", "Case for phone charger", "", None),
        ("notebook", "HP Notebook PC", "", None),
    ],
)
def test_by_kind_and_title(asked: str, title: str, kind: str, found: str | None) -> None:
    assert said(asked, title, kind) == found


def test_the_end_of_the_category_path_is_a_kind() -> None:
    assert said("sofa", "Nordby 3", category="Furniture / Living room / Sofas") == "same"


def test_a_query_without_a_kind_is_about_its_model_and_one_with_two_is_left_open() -> None:
    assert said("iphone xr", "Leather Case for iPhone XR", key="model") == "accessory"
    two = (Requirement("product type", "mug", "people"), Requirement("product type", "cup", "people"))
    assert decide_category(two, Offer(Product("Mug"), SPEC)) is None
    assert decide_category((), Offer(Product("Mug"), SPEC)) is None
