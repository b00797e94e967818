"""The domain: label scale, step schema, rule book and prompt of one shop, read from one YAML file."""

import math
import re
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from taosr_she.base.config import Strict, describe
from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.base.overrides import merged
from taosr_she.base.strict_yaml import parse_yaml, read_yaml

Code = Annotated[str, Field(coerce_numbers_to_str=True)]  # YAML reads an unquoted 4 as a number
SHIPPED = ("taobao", "esci", "wands", "chorus", "esci-typed")


class Grade(Strict):
    """One grade of the label scale."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # YAML reads an unquoted 4 as a number
    later: ClassVar[dict[str, Any]] = {"category": ""}

    code: str
    """The code that the model writes and that files contain, e.g. "4" or "E"."""
    name: str
    """The name for people, e.g. "Excellent"."""
    good: bool = False
    """Whether the grade counts as a good result in Good F1."""
    meaning: str = ""
    """One sentence for the prompt and for annotators."""
    aliases: tuple[str, ...] = ()
    """Other spellings accepted when reading data (compared without case)."""
    category: str = ""
    """Category step in demonstrations of the teacher `catalogue` for pairs with this label, if the catalogue does not
    decide it. Never a verdict."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Code, name and aliases without case and outer space."""
        return tuple(s.strip().casefold() for s in (self.code, self.name, *self.aliases))


class StepSpec(Strict):
    """One step of the step schema."""

    later: ClassVar[dict[str, Any]] = {"keys": ()}
    key: str = Field(pattern=r"^[a-z][a-z_]*$")
    """Section name in the response: `[key]`."""
    title: str
    """Name for people."""
    kind: Literal["closed", "free"] = "closed"
    """A closed step has a conclusion that can be compared with a reference; a free step is text."""
    form: Literal["text", "fields", "choice", "label"] = "text"
    """`fields`: `key: value; key: value`. `choice`: one of `choices`. `label`: a grade's code. `text`: anything."""
    choices: tuple[str, ...] = ()
    """For `choice`, the allowed conclusions; for `fields`, the allowed values (empty: any)."""
    keys: tuple[str, ...] = ()
    """For `fields`: the allowed keys before the colon, in the order in which programs write them (empty: any)."""
    guide: str = ""
    """One sentence for the prompt and for annotators: what belongs here."""


class Rule(Strict):
    """One numbered business rule, tied to the grade it leads to."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str
    """Short name that a step may cite, e.g. "R3"."""
    grade: str
    """Code of the grade."""
    text: str
    """The text of the rule."""


class ProductField(Strict):
    """One line of the prompt that shows a field of the product."""

    later: ClassVar[dict[str, Any]] = {"only": ()}
    name: Literal["title", "description", "brand", "category", "price", "attributes"]
    """Which field of the product."""
    heading: str
    """Heading in front of the field's text."""
    max_chars: int = Field(default=400, gt=0)
    """Maximum number of characters; longer text is cut."""
    only: tuple[str, ...] = ()
    """For `attributes`: the names of the attributes to show, in this order. Empty: all, in the order of the file."""


class PromptSpec(Strict):
    """How a pair becomes a prompt."""

    later: ClassVar[dict[str, Any]] = {"hide": ()}
    instruction: str = ""
    """First paragraph; also the system turn of chat models."""
    show_labels: bool = True
    """List the grades with their meaning."""
    show_rules: bool = True
    """List the rule book. A model trained from scratch cannot understand it, so tiny recipes leave it out."""
    show_format: bool = True
    """List the steps with their guide, in the response format."""
    query_heading: str = "Query"
    """Heading in front of the query."""
    max_query_chars: int = Field(default=300, gt=0)
    """Maximum number of characters; longer queries are cut."""
    fields: tuple[ProductField, ...] = (ProductField(name="title", heading="Title"),)
    """Product fields in order; empty ones are left out of the prompt."""
    hide: tuple[str, ...] = ()
    """Names of `fields` that the model does not read, because short prompts are cheaper. People still see them."""
    answer_heading: str = "Answer:"
    """Last line of the prompt."""

    @property
    def read_fields(self) -> tuple[ProductField, ...]:
        """The fields that the model reads."""
        return tuple(field for field in self.fields if field.name not in self.hide)

    @model_validator(mode="after")
    def _check_hidden(self) -> "PromptSpec":
        names = [field.name for field in self.fields]
        if unknown := [name for name in self.hide if name not in names]:
            raise ValueError(f"`hide` names '{unknown[0]}', but the fields are {', '.join(names)}")
        return self


class CatalogueSpec(Strict):
    """How a program reads the shop's catalogue (`data.catalogue`): it decides only what is typed."""

    units: dict[str, str] = Field(default_factory=dict)
    """Unit of a typed attribute that is a bare number, e.g. `{display diagonal: in}`."""
    types: tuple[str, ...] = ()
    """Attributes with the kind of product. The last part of `category` counts as well."""
    colors: tuple[str, ...] = ("color",)
    """Attributes with the product's color."""


class Domain(Strict):
    """Everything that differs between shops. Shipped: `taobao` (default), `esci`, `wands`, and with typed steps for the
    teacher `catalogue`: `chorus`, `esci-typed`."""

    later: ClassVar[dict[str, Any]] = {"catalogue": None}
    name: str
    """Name of the domain."""
    guideline_version: str = "1"
    """Recorded with every annotation."""
    labels: tuple[Grade, ...] = Field(min_length=2)
    """The label scale, best grade first."""
    tiers: dict[str, Annotated[tuple[Code, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Name -> codes of the grades that a search engine treats alike, e.g. `{good: ["4", "3"], mid: ["2"], bad: ["1"]}`.
    Each tier is a piece of the label scale, in its order. Empty: no tiers."""
    steps: tuple[StepSpec, ...] = Field(min_length=1)
    """The step schema, in order. Exactly one step has the form `label`."""
    rules: tuple[Rule, ...] = ()
    """The rule book."""
    prompt: PromptSpec = PromptSpec()
    """How a pair becomes a prompt."""
    answer_first: bool = False
    """Whether the label step comes first ("respond then think"), wherever the file lists it. One pass over the prompt
    then gives the label distribution."""
    synonyms: dict[str, str] = Field(default_factory=dict)
    """Spelling variants of values in closed steps, variant -> canonical (lower case)."""
    catalogue: CatalogueSpec | None = None
    """How a program reads the catalogue, for the teacher `catalogue`."""

    @model_validator(mode="before")
    @classmethod
    def _label_in_front(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("answer_first") is not True:
            return given
        steps = given.get("steps")
        if not isinstance(steps, list | tuple) or not all(isinstance(step, dict) for step in steps):
            return given
        return {**given, "steps": sorted(steps, key=lambda step: step.get("form") != "label")}

    @model_validator(mode="after")
    def _check(self) -> "Domain":
        for what, names in (
            ("label codes", [g.code for g in self.labels]),
            ("step keys", [s.key for s in self.steps]),
            ("rule ids", [r.id for r in self.rules]),
        ):
            # The parser reads the text after "[label]" word by word, without brackets and commas.
            odd = [n for n in names if not re.fullmatch(r"[^\s(),\[\]]+", n)]
            if odd:
                raise ValueError(f"{what} must be single words without brackets and commas, not '{odd[0]}'")
            doubled = sorted({n for n in names if names.count(n) > 1})
            if doubled:
                raise ValueError(f"{what} must be unique; occurring twice: {', '.join(doubled)}")
        label_steps = [i for i, s in enumerate(self.steps) if s.form == "label"]
        if len(label_steps) != 1:
            raise ValueError(f"exactly one step must have 'form: label', found {len(label_steps)}")
        if (label_steps[0] == 0) != self.answer_first and len(self.steps) > 1:
            raise ValueError("the label step comes first only with 'answer_first: true'")
        seen: dict[str, str] = {}
        for grade in self.labels:
            for spelling in grade.spellings:
                if seen.setdefault(spelling, grade.code) != grade.code:
                    raise ValueError(f"'{spelling}' means two grades: {seen[spelling]} and {grade.code}")
        unknown = sorted({r.grade for r in self.rules} - {g.code for g in self.labels})
        if unknown:
            raise ValueError(f"rules lead to grades that are not on the label scale: {', '.join(unknown)}")
        if self.tiers and [c for name in self.tier_names for c in self.tiers[name]] != [g.code for g in self.labels]:
            raise ValueError(
                "`tiers` must have every code once, in the order of the label scale: name -> codes, each tier a piece "
                f"of {', '.join(g.code for g in self.labels)}"
            )
        for step in self.steps:
            if step.form == "choice" and not step.choices:
                raise ValueError(f"step '{step.key}' has 'form: choice', so it needs 'choices'")
            if step.keys and step.form != "fields":
                raise ValueError(f"step '{step.key}' has 'keys', which belong to 'form: fields'")
        for variant, word in self.synonyms.items():
            for value in (variant, word):
                if value != " ".join(value.casefold().split()) or re.search(r";|^not | or ", value) or not value:
                    raise ValueError(f"synonym '{value}' must be lower case, one value, single spaces")
            if word in self.synonyms:
                raise ValueError(
                    f"synonym '{variant}' leads to '{word}', which is itself a variant: name the last word"
                )
        return self

    @property
    def codes(self) -> tuple[str, ...]:
        """Label codes, best first."""
        return tuple(g.code for g in self.labels)

    @property
    def good_codes(self) -> frozenset[str]:
        """Codes of the grades that count as good."""
        return frozenset(g.code for g in self.labels if g.good)

    @property
    def step_keys(self) -> tuple[str, ...]:
        """Keys of the K steps in order."""
        return tuple(s.key for s in self.steps)

    @property
    def label_step(self) -> int:
        """Index of the step that holds the label."""
        return next(i for i, s in enumerate(self.steps) if s.form == "label")

    @property
    def label_header(self) -> str:
        """The header of the label step. With the label first, every response begins with it."""
        return f"[{self.steps[self.label_step].key}]"

    @property
    def grade_values(self) -> tuple[float, ...]:
        """A number for every grade, in the order of `codes`; a better grade has a larger number.

        If all codes are numbers that fall from best to worst, as in 4, 3, 2, 1, the number is the code. Otherwise the
        grades are counted from the worst, which is 1: E, S, C, I are 4, 3, 2, 1.
        """
        try:
            values = tuple(float(code) for code in self.codes)
        except ValueError:
            values = ()
        falling = all(math.isfinite(a - b) and a > b for a, b in pairwise(values))
        return values if values and falling else tuple(float(n) for n in range(len(self.codes), 0, -1))

    @property
    def graded(self) -> bool:
        """Whether the labels form a scale of three or more grades, so that errors differ in size."""
        return len(self.labels) > 2

    def parse_label(self, value: object) -> str | None:
        """The code for a spelling of a label ("Excellent", 4, "4.00", "4,0", "exact"); None if it is not a label."""
        text = str(value).strip().casefold()
        # Spreadsheets turn a column of 4 into 4.0, databases into 4.00, and both into 4,0 if the locale says so.
        for spelling in (text, re.sub(r"(?<=\d)[.,]0+$", "", text)):
            for grade in self.labels:
                if spelling in grade.spellings:
                    return grade.code
        return None

    @property
    def tier_names(self) -> tuple[str, ...]:
        """Names of the tiers, best first, in whatever order the file has them."""
        place = {code: i for i, code in enumerate(self.codes)}
        return tuple(sorted(self.tiers, key=lambda name: min((place.get(c, -1) for c in self.tiers[name]), default=-1)))

    def tier_of(self, code: str) -> str | None:
        """The name of the tier of a grade; None if there are no tiers."""
        return next((name for name, codes in self.tiers.items() if code in codes), None)

    def computed(self) -> dict[str, Any]:
        """Without the tiers of the shipped domains: they change nothing that a model learns, and runs from before there
        were any still count. Other tiers give other metrics, so they do count."""
        kept = super().computed()
        if not self.tiers or self.tiers in _shipped_tiers():
            del kept["tiers"]
        return kept

    def label_alone(self) -> "Domain":
        """This domain with the label step as its only step: what a model that does not reason writes."""
        return self.with_overrides({"steps": [self.steps[self.label_step].model_dump()]})

    def with_overrides(self, overrides: dict[str, Any]) -> "Domain":
        """A copy in which `overrides` (nested, as in the YAML file) replace values; unknown keys raise UserError."""
        return _validated(_changed(self.model_dump(), overrides), f"domain '{self.name}' with overrides")


def load_domain(name_or_path: str | Path) -> Domain:
    """A shipped domain by name, or any domain from a YAML file. Raises a UserError that names the fix.

    A file with `base: NAME`, a shipped domain, contains only the differences from that one: mappings are merged, lists
    are replaced. Tiers are replaced as a whole, and other labels have no tiers unless the file names them.
    """
    what = f"domain {name_or_path}"
    if str(name_or_path) in SHIPPED:
        raw = parse_yaml(_shipped_text(str(name_or_path)), what)
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(
                f"domain '{name_or_path}' is neither shipped ({', '.join(SHIPPED)}) nor a YAML file on disk"
            )
        raw = read_yaml(path, what)
    if isinstance(raw, dict) and "base" in raw:
        base = raw.pop("base")
        if base not in SHIPPED:
            raise UserError(f"{what}: base: '{one_line(str(base))}' is not a shipped domain: {', '.join(SHIPPED)}")
        raw = _changed(load_domain(base).model_dump(mode="json"), raw)
    return _validated(raw, what)


def _changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`. Tiers depend on the labels and their order, so they are not merged."""
    found: dict[str, Any] = merged(base, changes)
    if "tiers" in changes or "labels" in changes:
        found["tiers"] = changes.get("tiers", {})
    return found


@cache
def _shipped_tiers() -> list[dict[str, tuple[str, ...]]]:
    return [load_domain(name).tiers for name in SHIPPED]


def _shipped_text(name: str) -> str:
    return resources.files("taosr_she.domain").joinpath("domains", f"{name}.yaml").read_text("utf-8")


def _validated(raw: Any, what: str) -> Domain:
    try:
        return Domain.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{what}: {describe(error)}") from error
