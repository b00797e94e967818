"""What people say in marked queries and rated pairs, in a store, and how well they agree."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.agreement import pair_agreement
from taosr_she.examine.store import read_all

Cli = Callable[..., tuple[int, str, str]]
CHORUS = load_domain("chorus")
TYPE, COLOR, OTHER = "B-core_product_type", "B-color", "B-modifier"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    said = {"1": [COLOR, TYPE], "2": [COLOR, TYPE], "3": ["B-obscure", TYPE]}
    queries = [
        {"query_key": "k1", "query": "red mug", "tokens": ["red", "mug"], "tags": [COLOR, TYPE], "annotators": said},
        {"query_key": "k2", "query": "camo mug", "tokens": ["camo", "mug"], "tags": [OTHER, TYPE]},
    ]
    pairs = [
        {"id": f"p{n}", "query": "Red mug", "product_id": n, "title": "Mug", "label": "3", "raters": raters}
        for n, raters in enumerate([["3", "3", "3"], ["3", "2", "0"], ["0", "0", "1"], None])
    ]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return tmp_path


def test_marked_queries_of_themselves_and_of_pairs(files: Path, cli: Cli) -> None:
    arguments = (files / "queries.jsonl", files / "a.db", "--layout", "queryner", "--domain", "chorus")
    code, out, _ = cli("annotations", "import", *arguments)
    assert code == 0 and "4 records by queryner, queryner-1, queryner-2, queryner-3 (1 unsure)" in " ".join(out.split())
    assert {a.pair_id for a in read_all(files / "a.db")} == {"k1", "k2"}
    code, out, _ = cli("annotations", "agreement", files / "a.db", "--domain", "chorus")
    assert code == 0 and "queryner-1, queryner-2: 1 items, 100.0% the same" in out
    code, out, _ = cli(
        "annotations", "import", files / "queries.jsonl", files / "b.db", "--layout", "queryner", "--domain", "chorus",
        "--pairs", files / "pairs.jsonl",
    )  # fmt: skip
    assert code == 0 and len(read_all(files / "b.db")) == 4 * 3
    assert {a.conclusion for a in read_all(files / "b.db") if a.verdict == "correct"} == {
        "product type: mug; color: red"
    }


def test_raters_of_pairs_and_their_weighted_kappa(files: Path, cli: Cli) -> None:
    arguments = (files / "pairs.jsonl", files / "a.db", "--layout", "raters", "--domain", "chorus")
    code, out, _ = cli("annotations", "import", *arguments)
    assert code == 0 and "9 records by rater-1, rater-2, rater-3" in " ".join(out.split())
    code, out, _ = cli("annotations", "agreement", files / "a.db", "--domain", "chorus")
    # One squared difference against 11, what (3, 3, 0) and (3, 2, 0) come to when all are paired with all: 33 / 3.
    assert "rater-1, rater-2: 3 items" in out and "quadratic weighted kappa 0.91" in " ".join(out.split())


def test_the_weighted_kappa_is_sklearns() -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = "3302130012"[:10], "3312030022"[:10]
    said = [
        Annotation(f"p{n}", "label", grade, annotator=name)
        for name, grades in (("a", first), ("b", second))
        for n, grade in enumerate(grades)
    ]
    found = next(row for row in pair_agreement(CHORUS, said) if row.step == "label")
    assert found.weighted == pytest.approx(cohen_kappa_score(list(first), list(second), weights="quadratic"))


@pytest.mark.parametrize(
    ("file", "layout", "domain", "told"),
    [
        ("queries.jsonl", "queryner", "taobao", "the first step of domain 'taobao' has no keys"),
        ("pairs.jsonl", "queryner", "chorus", "line 1: no query_key"),
        ("none.jsonl", "raters", "chorus", "no pair has raters"),
        ("pairs.jsonl", "xml", "chorus", "expected jsonl, label_studio, stepwise, queryner or raters"),
    ],
)
def test_mistakes_are_one_line(files: Path, cli: Cli, file: str, layout: str, domain: str, told: str) -> None:
    (files / "none.jsonl").write_text(json.dumps({"query": "mug", "title": "Mug", "label": "3"}))
    code, _, err = cli("annotations", "import", files / file, files / "a.db", "--layout", layout, "--domain", domain)
    assert code == 2 and told in err and len(err.strip().splitlines()) == 1
