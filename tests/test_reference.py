"""The page of all options is what the code says, and every option is on it."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.recipe.stages import KINDS
from taosr_she.reference import below, reference, table, type_text

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference(), "docs/reference.md is out of date: run `make reference`"


def test_every_kind_of_stage_is_there() -> None:
    page = reference()
    assert [kind for kind in KINDS if f"### Kind `{kind}`" not in page] == []


class Inner(Strict):
    """Inside."""

    share: float | None = Field(default=0.5, ge=0, lt=1)
    """A share | a part,
    on two lines."""


class Base(Strict):
    """Below."""

    kind: Literal["toy"]
    """Discriminator."""
    names: tuple[str, ...]
    """Names."""


class Toy(Base):
    """A stage."""

    inner: Inner = Inner(share=0.25)
    """The inside."""


def test_a_row_has_type_limits_default_and_text_of_the_class_and_those_it_extends() -> None:
    assert table(Toy).splitlines()[2:] == [
        "| `names` | list of text | required | Names. |",
        "| `inner` | [Inner](#inner) | `share: 0.25` | The inside. |",
    ]
    assert table(Inner).splitlines()[2:] == [
        "| `share` | number or null, ≥ 0, < 1 | `0.5` | A share \\| a part, on two lines. |"
    ]
    assert below({"toy": Toy}) == {Inner: ["toy: inner"]}


def test_a_field_without_a_text_or_of_an_unknown_type_is_an_error() -> None:
    class Silent(Strict):
        """Says nothing."""

        option: int = 1

    with pytest.raises(KeyError, match="option"):
        table(Silent)
    with pytest.raises(TypeError, match="add it to type_text"):
        type_text(Path)
