"""The meaning of a file's columns: the column map, the known layouts, and how a layout is recognised."""

from collections.abc import Iterable
from typing import Literal

from pydantic import ValidationError

from taosr_she.base.config import Strict, describe
from taosr_she.base.errors import UserError

_RECIPE = " (in a recipe `columns`)"
_MOST_NAMES = 40  # shown in a message


class ColumnMap(Strict):
    """Our field -> the file's column. Only `query` and `title` must be in the file."""

    query: str | None = None
    """The shopper's query."""
    query_id: str | None = None
    """Groups the pairs of a query. If absent, it is made from locale and query."""
    pair_id: str | None = None
    """Identifies the pair. If absent, it is made from the pair's content."""
    product_id: str | None = None
    """Distinguishes two products with the same text. Not a field of ours: the column stays in `Pair.extra`."""
    label: str | None = None
    """The human label, in any spelling that the domain accepts."""
    title: str | None = None
    """The product's title."""
    description: str | tuple[str, ...] | None = None
    """The product's description; several columns are joined, in this order, with line breaks."""
    brand: str | None = None
    """The product's brand."""
    category: str | None = None
    """The product's category."""
    price: str | None = None
    """The product's price, in any common format (`data.price`). If it cannot be read, the pair is kept without it."""
    attributes: str | dict[str, str] | None = None
    """A column that holds all attributes, or attribute -> column."""
    attributes_form: Literal["json", "features"] = "json"
    """How a single attribute column is written: a JSON object, or WANDS' `key:value|key : value`."""
    locale: str | None = None
    """Market or language of the query, e.g. "us"."""
    tags: str | None = None
    """Slices for evaluation: a list, or text with `|` between the tags."""
    raters: str | None = None
    """The grades of several people: a list, or text with `|` between them. They become `Pair.raters`."""
    extra: tuple[str, ...] | None = None
    """Other columns to keep in `Pair.extra`; by default all."""

    def consumed(self) -> frozenset[str]:
        """The file's columns that become fields of a pair, and so do not go to `Pair.extra`."""
        columns: list[str | None] = [
            self.query, self.query_id, self.pair_id, self.label, self.title, self.brand, self.category, self.price,
            self.locale, self.tags, self.raters, *self.description_columns(),
        ]  # fmt: skip
        columns += self.attributes.values() if isinstance(self.attributes, dict) else [self.attributes]
        return frozenset(c for c in columns if c)

    def used(self) -> frozenset[str]:
        """The columns that must hold readable text: all consumed ones except the price, which may be unreadable."""
        return self.consumed() - {self.price}

    def description_columns(self) -> tuple[str, ...]:
        """The columns of the description, in order."""
        return (self.description,) if isinstance(self.description, str) else self.description or ()

    def column_of(self, name: str) -> str:
        """The file's column for one of our fields; any other name is the name of a column."""
        column = getattr(self, name, None) if name in ColumnMap.model_fields else None
        return column if isinstance(column, str) else name


# ESCI and WANDS: columns as listed in their READMEs (amazon-science/esci-data, wayfair/WANDS). Bullets come before the
# description because prompts cut long text, bullets say more in fewer words, and many descriptions are empty.
LAYOUTS: dict[str, ColumnMap] = {
    "plain": ColumnMap(
        query="query", query_id="query_id", pair_id="pair_id", product_id="product_id", label="label", title="title",
        description="description", brand="brand", category="category", price="price", attributes="attributes",
        locale="locale", tags="tags", raters="raters",
    ),
    "esci": ColumnMap(
        query="query", query_id="query_id", pair_id="example_id", product_id="product_id", label="esci_label",
        title="product_title", description=("product_bullet_point", "product_description"), brand="product_brand",
        attributes={"color": "product_color"}, locale="product_locale",
    ),
    "esci-sample": ColumnMap(
        query="query", query_id="query_key", pair_id="id", product_id="product_id", label="label", title="title",
        description=("bullets", "description"), brand="brand", attributes={"color": "color"}, locale="locale",
    ),
    "chorus": ColumnMap(
        query="query", pair_id="id", product_id="product_id", label="label", title="title", description="description",
        brand="brand", price="price", attributes="attributes", raters="raters",
    ),
    "wands": ColumnMap(
        query="query", query_id="query_id", pair_id="id", product_id="product_id", label="label", title="product_name",
        description="product_description", category="product_class", attributes="product_features",
        attributes_form="features",
    ),
    # RAIR (arXiv 2512.24943): public material describes its rows (a query, a product's text and image, one of the
    # grades L1 to L4, which the `taobao` domain reads), but not the names of the columns. We do not guess them:
    # `columns` must name them, and `auto` never picks this layout.
    "rair": ColumnMap(),
}  # fmt: skip


def column_map(layout: str, columns: dict[str, str] | None = None) -> ColumnMap:
    """A known layout, with `columns` (our field -> the file's column) overriding it. UserError for unknown names."""
    if layout not in LAYOUTS:
        raise UserError(
            f"unknown layout '{layout}'; choose one of auto, {', '.join(LAYOUTS)}, trec, quepid, opensearch, ranx"
        )
    try:
        return ColumnMap.model_validate(LAYOUTS[layout].model_dump() | (columns or {}))
    except ValidationError as error:
        fields = ", ".join(ColumnMap.model_fields)
        raise UserError(f"--column (in a recipe `columns`): {describe(error)}; our fields are {fields}") from error


def choose_layout(
    layout: str, columns: dict[str, str] | None, seen: Iterable[str], source: str, require_label: bool = False
) -> tuple[str, ColumnMap]:
    """The layout's name and column map for a file with the columns `seen`.

    `auto` considers the layouts whose query and title are present, and takes the one that explains most columns (the
    first if there is a tie). UserError, naming the columns seen, if no layout fits or a required column is missing.
    """
    present = list(dict.fromkeys(seen))
    if layout == "auto":
        layout = _detect(columns, present, source)
    mapped = column_map(layout, columns)
    listed = shown_names(present)
    needed = ["query", "title"] + (["label"] if require_label else [])
    for field in dict.fromkeys([*needed, *(columns or {})]):
        for column in _columns_of(mapped, field):
            if column is None:
                raise UserError(f"{source}: layout '{layout}' does not say which column is the {field}; "
                                f"say it with --column {field}=NAME{_RECIPE}; the file has: {listed}")  # fmt: skip
            if column not in present:
                raise UserError(f"{source}: no column '{column}' for the {field}; name the right one with "
                                f"--column {field}=NAME{_RECIPE}; the file has: {listed}")  # fmt: skip
    return layout, mapped


def shown_names(names: Iterable[str]) -> str:
    """Column names for a message of one line, whatever they are."""
    listed = list(names)
    shown = [name if name and name.isprintable() and len(name) <= 80 else repr(name[:80]) for name in listed]
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return ", ".join(shown[:_MOST_NAMES]) + more if listed else "none"


def _columns_of(mapped: ColumnMap, field: str) -> list[str | None]:
    value = getattr(mapped, field)
    if field == "attributes_form":
        return []
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]


def _detect(columns: dict[str, str] | None, present: list[str], source: str) -> str:
    best, most = None, 0
    for name in LAYOUTS:
        mapped = column_map(name, columns)
        explained = len(mapped.consumed() & set(present))
        if mapped.query in present and mapped.title in present and explained > most:
            best, most = name, explained
    if best is None:
        known = "; ".join(f"{n}: {m.query}, {m.title}" for n, m in LAYOUTS.items() if m.query)
        raise UserError(
            f"{source}: no known layout fits the columns {shown_names(present)}; say which is which with "
            f"--column query=NAME --column title=NAME{_RECIPE}; layouts look for {known}"
        )
    return best
