"""Real people's data through the whole way: raw files, the store, agreement, a training's data, and the lead's page.

QueryNER's three annotators and Chorus' three raters; slices of their files, so that it is quick.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from annotation_page import Served, opened_lead

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.people import add_person
from taosr_she.data.rows import normal_query
from taosr_she.domain.annotation import read_annotations
from taosr_she.domain.domain import load_domain
from taosr_she.domain.response import render_response
from taosr_she.examine.agreement import ALL_STEPS, pair_agreement
from taosr_she.examine.majority import majority_references
from taosr_she.examine.people import people_of
from taosr_she.examine.store import AnnotationStore
from taosr_she.examine.verifier import Verifier

Cli = Callable[..., tuple[int, str, str]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        pytest.skip(f"{path} is missing: the real data sets are not here")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def chorus(shared_data: Path, tmp_path: Path) -> Path:
    """The rated pairs of a dozen queries."""
    rows = rows_of(shared_data / "chorus" / "pairs.jsonl.gz")
    queries = list(dict.fromkeys(row["query"] for row in rows))[:12]
    return write(tmp_path / "chorus.jsonl", [row for row in rows if row["query"] in queries and row["raters"]])


@pytest.fixture
def esci(shared_data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """ESCI's pairs whose query three people marked, some others beside them, and these marked queries."""
    marked = [row for row in rows_of(shared_data / "queryner" / "queries.jsonl.gz") if row.get("annotators")]
    keys = {normal_query(row["query"]) for row in marked}
    rows = [row for row in rows_of(shared_data / "esci-sample" / "pairs.jsonl.gz") if row["locale"] == "us"]
    three = [row for row in rows if normal_query(row["query"]) in keys]
    assert len(three) >= 10, "the sample has lost the pairs that this test is about"
    others = [row for row in rows if normal_query(row["query"]) not in keys][:60]
    wanted = {normal_query(row["query"]) for row in three}
    queries = [row for row in marked if normal_query(row["query"]) in wanted]
    return write(tmp_path / "esci.jsonl", three + others), write(tmp_path / "queries.jsonl", queries)


def test_raters_from_the_raw_file_to_the_leads_page(chorus: Path, tmp_path: Path, cli: Cli, browser) -> None:
    store, domain = tmp_path / "people.db", load_domain("chorus")
    rated = [row["raters"] for row in map(json.loads, chorus.open())]
    code, out, err = cli("annotations", "import", chorus, store, "--layout", "raters", "--domain", "chorus")
    assert code == 0 and f"{3 * len(rated)} records by rater-1, rater-2, rater-3" in " ".join(out.split()), err
    code, out, _ = cli("annotations", "agreement", store, "--domain", "chorus")
    same = np.mean([raters[0] == raters[1] for raters in rated])
    assert code == 0 and f"rater-1, rater-2: {len(rated)} items, {same:.1%} the same" in " ".join(out.split())

    # Verdicts of an examination without the final grade: the majority of the three, and ties are unknown.
    with AnnotationStore(store, create=False) as opened:
        said = list(opened.select())
    pairs = [row for row in map(json.loads, chorus.open())]
    unlabelled = write(tmp_path / "unlabelled.jsonl", [
        {"pair_id": row["id"], "query": row["query"], "title": row["title"], "response": render_response(
            domain, {"query": "product type: x", "category": "same", "attributes": "none", "label": row["raters"][0]})}
        for row in pairs
    ])  # fmt: skip
    code, out, err = cli(
        "examine", unlabelled, "--annotations", store, "--domain", "chorus", "--out", tmp_path / "examined.jsonl"
    )
    assert code == 0, err
    examined = [json.loads(line) for line in (tmp_path / "examined.jsonl").open()]
    ties = 0
    for row, raters in zip(examined, rated, strict=True):
        (grade, votes), *_ = Counter(raters).most_common(1)
        ties += votes == 1
        expected = (None, "unknown") if votes == 1 else (float(raters[0] == grade), "human")
        assert (row["verdict_label"], row["source_label"]) == expected
    assert ties > 0, "without a tie this tests little"

    # A training's data: each person by name, and the stage says what stays unknown.
    said_by_stage = run_data(cli, tmp_path, "chorus", chorus, "chorus", store)
    line = next(line for line in said_by_stage.splitlines() if line.strip().startswith("training: annotations by"))
    assert "annotations by rater-1, rater-2, rater-3: label " in line and " unknown" in line
    training = read_annotations(tmp_path / "run-chorus/stages/data/annotations.jsonl")
    assert {a.annotator for a in training} == {"rater-1", "rater-2", "rater-3"}

    # The page: people give their own conclusions on the same pairs, and the lead sees the raters.
    code, out, err = cli("annotate", "queue", store, chorus, "--references", "--domain", "chorus", "--limit", "20")
    assert code == 0 and "20 new items" in out, err
    with Desk(store) as desk:
        served = Served(desk)
        try:
            lead = opened_lead(browser, served, add_person(desk, "lea", "lead"))
            assert f"rater-2\t{len(rated)}" in lead.inner_text("#people")
            row = lead.inner_text("#agreement tr:has-text('rater-1'):has-text('rater-2'):has-text('all steps')")
            assert str(len(rated)) in row and f"{100 * same:.1f}%" in row
        finally:
            served.stop()
    assert len(said) == 3 * len(rated)


def test_three_people_who_marked_queries(esci: tuple[Path, Path], tmp_path: Path, cli: Cli) -> None:
    path, queries = esci
    store, domain = tmp_path / "people.db", load_domain("esci-typed")
    arguments = ("--layout", "queryner", "--domain", "esci-typed", "--pairs", path)
    code, out, err = cli("annotations", "import", queries, store, *arguments)
    assert code == 0 and "records by queryner-1, queryner-2, queryner-3" in " ".join(out.split()), err
    said = people_of(queries, "queryner", domain, path)
    code, out, _ = cli("annotations", "agreement", store, "--domain", "esci-typed")
    for two in pair_agreement(domain, said):
        if two.step == ALL_STEPS:
            shown = f"{two.first}, {two.second}: {two.items} items, {two.raw:.1%} the same, kappa {two.kappa:.2f}"
            assert code == 0 and shown in out
    opinions = majority_references(domain, said)
    sure = {pair_id: opinion.value for (pair_id, _), opinion in opinions.items() if opinion.value is not None}
    assert 0 < len(sure) < len(opinions), "both majorities and ties"

    stage = run_data(cli, tmp_path, "esci", path, "esci-typed", store, training=1.0)
    line = next(line for line in stage.splitlines() if line.strip().startswith("training: annotations by"))
    assert f"query {len(sure)} decided, {len(opinions) - len(sure)} unknown" in line
    folder = tmp_path / "run-esci/stages/data"
    verifier = Verifier(domain, read_annotations(folder / "annotations.jsonl"))
    pairs, responses = responses_of(folder, domain, sure)
    found = verifier.examine(pairs, responses).values[:, 0]
    asked = [pair.pair_id in {place[0] for place in opinions} for pair in pairs]
    decided = [pair.pair_id in sure for pair in pairs]
    assert (found[decided] == 1).all() and np.isnan(found[~np.array(decided)]).all() and sum(asked) > sum(decided)


def responses_of(folder: Path, domain, sure: dict[str, str]):
    """A response to every training pair; its query step is what the majority says, where there is one."""
    from taosr_she.data.read import read_pairs
    from taosr_she.domain.response import parse_response

    pairs = read_pairs(folder / "training.jsonl")
    texts = [
        render_response(
            domain,
            {
                "query": sure.get(pair.pair_id, "product type: x"), "category": "same", "attributes": "none",
                "label": pair.label,
            },
        )
        for pair in pairs
    ]  # fmt: skip
    return pairs, [parse_response(domain, text) for text in texts]


def run_data(cli: Cli, folder: Path, name: str, path: Path, domain: str, store: Path, training: float = 0.5) -> str:
    """The data stage of a recipe that reads the store; returns what it printed."""
    rest = round(1 - training, 2)
    recipe = {
        "name": name, "domain": domain, "out": str(folder / f"run-{name}"),
        "stages": {
            "data": {
                "kind": "pairs", "path": str(path), "layout": "chorus" if name == "chorus" else "esci-sample",
                "teacher": "none", "annotations": str(store), "split": {"training": training, "test": rest},
            }
        },
    }  # fmt: skip
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(recipe), "utf-8")
    code, out, err = cli("run", file)
    assert code == 0, err
    return out
