import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.interchange import Layout, export_annotations, import_annotations

DOMAIN = load_domain("taobao")
PAIRS = [Pair(f"p{i}", f"q{i}", "red boots", Product("boots"), "4") for i in range(3)]
LAYOUTS: list[Layout] = ["jsonl", "label_studio", "stepwise"]

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", " ", "a", "A ", "[query] x", "\n[label] 4", "\u2028", "x\r\ny", "$pair", "\0"]),
)
names = st.sampled_from(["", "ann", "machine:gsrm", "machine:", "ben@x.org"])
records = st.builds(
    Annotation, st.sampled_from(["p0", "p1", "p2"]), st.sampled_from(DOMAIN.step_keys), texts,
    st.sampled_from(["correct", "wrong", "unsure", "cannot_tell"]), texts, texts, names,
    st.sampled_from(["", "2024-05-01", "x"]),
    st.sampled_from(["", "1", "2"]), st.sampled_from(["", "r1", "r2"]),
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@given(items=st.lists(records, max_size=25))
def test_round_trip_without_loss(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout, items: list[Annotation]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{layout}.json"
    export_annotations(path, layout, items, DOMAIN, PAIRS)
    back = import_annotations(path, layout, DOMAIN)
    assert back.rejected == []
    assert Counter(back.annotations) == Counter(items)
    assert layout != "jsonl" or back.annotations == items


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts, st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "pair_id", "step", "conclusion", "verdict", "data", "annotations", "predictions", "result", "value", "meta",
            "from_name", "choices", "text", "completions", "labels", "unsure", "times", "completion", "text_query",
        ]), inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@given(value=json_values)
def test_any_json_is_read_or_quarantined(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout, value: object
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path, quarantine = folder / f"any-{layout}.json", folder / "quarantine.jsonl"
    path.write_text(json.dumps([value] if layout == "label_studio" else value), encoding="utf-8")
    result = import_annotations(path, layout, DOMAIN, quarantine)
    lines = [json.loads(line) for line in quarantine.read_bytes().splitlines()]
    assert [line["reason"] for line in lines] == [r.reason for r in result.rejected]
    assert sum(result.counts.values()) == len(lines) and all(a.step in DOMAIN.step_keys for a in result.annotations)


def test_bad_lines_cost_themselves_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    good = b'{"pair_id": "p0", "step": "category", "conclusion": "same"}\n'
    bad = (
        b'{"pair_id": "p0", "step": "colour"}\n', b"{\n", b"\xff\n", b'{"step": "category"}\n',
        b'{"pair_id": "p0", "step": "category", "note": "\\ud83d"}\n',
    )  # fmt: skip
    path.write_bytes(gzip.compress(good + b"".join(bad) + good))
    result = import_annotations(path, "jsonl", DOMAIN, tmp_path / "sub" / "quarantine.jsonl")
    assert len(result.annotations) == 2
    reasons = ["unknown step", "broken json", "wrong encoding", "missing field", "wrong encoding"]
    assert [(r.row, r.reason) for r in result.rejected] == [(n + 2, reason) for n, reason in enumerate(reasons)]
    lines = (tmp_path / "sub" / "quarantine.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == reasons
    assert "'colour' is none of query, product" in json.loads(lines[0])["detail"]


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("label_studio", b"{", "not valid JSON"),
        ("label_studio", b"{}", "a list of tasks is needed"),
        ("label_studio", b'[{"id": 1, "annotation_id": 5, "annotator": 3, "verdict_query": "correct"}]', "JSON-MIN"),
        ("label_studio", None, "no such file"),
        ("stepwise", None, "no such file"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, layout: Layout, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        import_annotations(path, layout, DOMAIN)
    assert "\n" not in str(error.value)


def test_export_needs_known_pairs_and_steps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 annotated pairs are not among the pairs given, the first is 'p9'"):
        export_annotations(tmp_path / "a", "stepwise", [Annotation("p9", "query", "x")] * 2, DOMAIN, PAIRS)
    with pytest.raises(UserError, match="pair p1 has an annotation of step 'colour', which domain taobao has not"):
        export_annotations(tmp_path / "a", "label_studio", [Annotation("p1", "colour", "x")], DOMAIN, PAIRS)
    assert not (tmp_path / "a").exists()
