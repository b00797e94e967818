"""Domains load, and every mistake in a domain file is told in one line."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.domain import SHIPPED, Domain, load_domain
from taosr_she.domain.pair import Annotation

TAOBAO = load_domain("taobao")


@pytest.mark.parametrize(("name", "labels", "rules"), [("taobao", 4, 14), ("esci", 4, 4), ("wands", 3, 3)])
def test_shipped_domains(name: str, labels: int, rules: int) -> None:
    domain = load_domain(name)
    assert (domain.name, len(domain.labels), len(domain.rules)) == (name, labels, rules)
    assert domain.step_keys == ("query", "product", "category", "attributes", "label")
    assert domain.label_step == 4 and domain.good_codes == {domain.codes[0], *(["3"] if name == "taobao" else [])}


@pytest.mark.parametrize("domain", [load_domain(name) for name in SHIPPED], ids=SHIPPED)
def test_every_spelling_of_a_label(domain: Domain) -> None:
    for grade in domain.labels:
        for spelling in (grade.code, grade.name, *grade.aliases):
            for form in (spelling, spelling.upper(), f" {spelling.lower()} "):
                assert domain.parse_label(form) == grade.code


@pytest.mark.parametrize(
    ("value", "code"), [(4, "4"), (4.0, "4"), ("3.0", "3"), ("L2", "2"), ("1.", None), (None, None)]
)
def test_labels_of_data_files(value: object, code: str | None) -> None:
    assert TAOBAO.parse_label(value) == code


@given(st.text())
def test_any_text_is_a_label_or_none(text: str) -> None:
    assert TAOBAO.parse_label(text) in {*TAOBAO.codes, None}


def raw(**changes: object) -> dict[str, object]:
    return {**TAOBAO.model_dump(mode="json"), **changes}


def steps(**changes: object) -> list[dict[str, object]]:
    listed = TAOBAO.model_dump(mode="json")["steps"]
    return [{**step, **changes} if step["key"] == "category" else step for step in listed]


def labels(*codes: object, aliases: tuple[str, ...] = ()) -> list[dict[str, object]]:
    return [{"code": code, "name": f"Grade {code}", "aliases": list(aliases)} for code in codes]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (raw(colour="red"), "colour: unknown key"),
        (raw(prompt={"heading": "x"}), "prompt.heading: unknown key"),
        (raw(labels=labels("a", "a"), rules=[]), "label codes must be unique; occurring twice: a"),
        (raw(labels=labels("a", "b", aliases=("same",)), rules=[]), "'same' means two grades: a and b"),
        (raw(labels=labels("a", "A"), rules=[]), "'a' means two grades: a and A"),
        (raw(labels=labels("very good", "bad"), rules=[]), "label codes must be single words"),
        (raw(labels=labels("a"), rules=[]), "labels: "),
        (raw(steps=steps(key="query")), "step keys must be unique; occurring twice: query"),
        (raw(steps=steps(key="Category 1")), "steps.2.key: "),
        (raw(steps=steps(choices=[])), "step 'category' has 'form: choice', so it needs 'choices'"),
        (raw(steps=steps(form="label")), "exactly one step must have 'form: label', found 2"),
        (raw(steps=raw()["steps"][:4]), "exactly one step must have 'form: label', found 0"),  # type: ignore[index]
        (raw(answer_first=True), "the label step must come first if 'answer_first: true'"),
        (
            raw(rules=[{"id": "R1", "grade": "5", "text": "x"}]),
            "rules lead to grades that are not on the label scale: 5",
        ),
        (raw(rules=[{"id": "R1", "grade": "4", "text": "x"}] * 2), "rule ids must be unique; occurring twice: R1"),
        (raw(synonyms={"Crimson": "red"}), "synonym 'Crimson' must be lower case"),
        (raw(synonyms={"crimson": "red", "red": "rot"}), "synonym 'crimson' leads to 'red', which is itself a variant"),
        (raw(guideline_version=None), "guideline_version: "),
        ("name: [", "not valid YAML"),
        ("", "valid dictionary"),
        ("- 1", "valid dictionary"),
        (b"\xff\xfe", "save it as UTF-8"),
        (b"name: \xe9", "line 1 is not UTF-8"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, content: object, told: str) -> None:
    path = tmp_path / "shop.yaml"
    text = yaml.safe_dump(content) if isinstance(content, dict) else content
    path.write_bytes(text if isinstance(text, bytes) else str(text).encode())
    with pytest.raises(UserError) as error:
        load_domain(path)
    message = str(error.value)
    assert told in message and "shop.yaml" in message and "\n" not in message


def test_a_missing_file_is_told() -> None:
    with pytest.raises(
        UserError, match=r"domain 'no/such.yaml' is neither shipped \(taobao, .* esci-typed\) nor a YAML"
    ):
        load_domain("no/such.yaml")


def test_a_file_round_trip_and_unquoted_codes(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(raw()), "utf-8")
    assert load_domain(path) == TAOBAO
    numbers = raw(labels=labels(2, 1), rules=[{"id": "R1", "grade": 2, "text": "x"}], tiers={"low": [1], "high": [2]})
    path.write_text(yaml.safe_dump(numbers), "utf-8")
    assert load_domain(path).codes == ("2", "1")
    assert load_domain(path).tiers == {"high": ("2",), "low": ("1",)}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_best_tier_of_a_shipped_domain_is_what_counts_as_good(name: str) -> None:
    shipped = load_domain(name)
    assert shipped.tier_names == ("good", "mid", "bad")
    assert set(shipped.tiers["good"]) == shipped.good_codes
    assert [shipped.tier_of(code) for code in (shipped.codes[0], shipped.codes[-1], "?")] == ["good", "bad", None]


def test_tiers_are_pieces_of_the_scale_in_whatever_order_the_file_has_them() -> None:
    turned = TAOBAO.with_overrides({"tiers": {"no": ["2", "1"], "yes": ["4", "3"]}})
    assert turned.tier_names == ("yes", "no")
    told = "`tiers` must have every code once, in the order of the label scale"
    for wrong in (
        {"yes": ["4", "2"], "no": ["3", "1"]}, {"yes": ["4", "3"]}, {"yes": ["4", "3"], "no": ["3", "2", "1"]},
        {"yes": ["4", "3"], "no": ["2", "9"]},
        {"yes": ["3", "4"], "no": ["2", "1"]},
    ):  # fmt: skip
        with pytest.raises(UserError, match=told):
            TAOBAO.with_overrides({"tiers": wrong})
    with pytest.raises(UserError, match=r"tiers\.none: .*at least 1"):
        TAOBAO.with_overrides({"tiers": {"yes": ["4", "3"], "no": ["2", "1"], "none": []}})


def test_other_labels_have_no_tiers_unless_they_are_named(tmp_path: Path) -> None:
    assert TAOBAO.with_overrides({"labels": labels(2, 1), "rules": []}).tiers == {}
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({"base": "taobao", "labels": labels(2, 1), "rules": []}), "utf-8")
    assert load_domain(path).tiers == {}
    path.write_text(yaml.safe_dump({"base": "taobao", "tiers": {"a": ["4"], "b": ["3", "2", "1"]}}), "utf-8")
    assert load_domain(path).tiers == {"a": ("4",), "b": ("3", "2", "1")}


def test_only_tiers_of_ones_own_count_in_a_fingerprint() -> None:
    assert "tiers" not in TAOBAO.computed() and "tiers" not in TAOBAO.with_overrides({"tiers": {}}).computed()
    own = {"yes": ("4", "3"), "no": ("2", "1")}
    assert TAOBAO.with_overrides({"tiers": own}).computed()["tiers"] == {"yes": ["4", "3"], "no": ["2", "1"]}


def test_overrides() -> None:
    changed = TAOBAO.with_overrides({"name": "shop", "prompt": {"show_rules": False}})
    assert (changed.name, changed.prompt.show_rules) == ("shop", False)
    assert changed.prompt.fields == TAOBAO.prompt.fields and TAOBAO.prompt.show_rules
    with pytest.raises(UserError, match=r"domain 'taobao' with overrides: prompt\.rules: unknown key"):
        TAOBAO.with_overrides({"prompt": {"rules": False}})


name = st.text(min_size=1)
verdict = st.sampled_from(["correct", "wrong", "unsure"])
annotations = st.builds(Annotation, pair_id=name, step=name, conclusion=st.text(), verdict=verdict, note=st.text())


@given(st.lists(annotations))
def test_annotations_round_trip(tmp_path_factory: pytest.TempPathFactory, items: list[Annotation]) -> None:
    path = tmp_path_factory.getbasetemp() / "annotations.jsonl"
    write_annotations(path, items)
    assert read_annotations(path) == items


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"3", b"\xff", b"", b'{"pair_id": "p"}', b'{"pair_id": "p", "step": "s", "colour": 1}',
     b'{"pair_id": "p", "step": "s", "verdict": "maybe"}'],
)  # fmt: skip
def test_a_bad_annotation_is_told_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"pair_id": "p", "step": "s"}\n' + line + b"\n")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: ") as error:
        read_annotations(path)
    assert "\n" not in str(error.value)


def test_a_domain_says_only_in_what_it_differs_from_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({"base": "chorus", "name": "shop", "prompt": {"show_rules": False}}), "utf-8")
    shop, chorus = load_domain(path), load_domain("chorus")
    assert shop.name == "shop" and shop.steps == chorus.steps and not shop.prompt.show_rules
    assert shop.prompt.fields == chorus.prompt.fields and shop.catalogue == chorus.catalogue
    path.write_text("base: nowhere\nname: shop\n", "utf-8")
    with pytest.raises(UserError, match="base: 'nowhere' is not a shipped domain: taobao"):
        load_domain(path)


def test_settings_that_came_later_are_not_in_the_fingerprint_of_a_domain_without_them() -> None:
    old = json.dumps(load_domain("esci").computed())
    assert not any(f'"{name}"' in old.replace('"name": "category"', "") for name in ("keys", "only", "catalogue"))
    dumped = load_domain("chorus").computed()
    assert dumped["steps"][0]["keys"][0] == "product type" and "keys" not in dumped["steps"][1]
    assert dumped["labels"][0]["category"] == "same" and "types" in dumped["catalogue"]


def test_typed_domains_share_their_steps() -> None:
    chorus, esci = load_domain("chorus"), load_domain("esci-typed")
    assert chorus.steps == esci.steps and chorus.codes == ("3", "2", "1", "0") and esci.codes == tuple("ESCI")
    assert esci.codes == load_domain("esci").codes and esci.rules == load_domain("esci").rules
