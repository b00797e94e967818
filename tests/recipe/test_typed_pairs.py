"""The stage `pairs` with the catalogue teacher: what is written, who said it, and what no split may see."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taosr_she.data.split import near_query
from taosr_she.domain.domain import load_domain
from taosr_she.domain.response import parse_response
from taosr_she.recipe.config import load_recipe
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.plan import plan

Cli = Callable[..., tuple[int, str, str]]
COLORS, KINDS = ("red", "blue", "green", "black", "white"), ("mug", "shirt", "shoe", "lamp")
STAGE = """{{kind: pairs, path: {0}/pairs.jsonl, fold: {{number: 1, of: 4}}, together: near, teacher: catalogue,
            typed: {{queries: {0}/queries.jsonl}}}}"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Forty queries of three pairs each, and sixty marked ones: thirty of these, some only near, and thirty others."""
    pairs, marked = [], []
    for n, (color, kind, more) in enumerate((c, k, m) for m in ("", "s") for c in COLORS for k in KINDS):
        query = f"{color} {kind}{more}"
        for offered, label in ((color, "3"), ("gray", "0"), ("", "2")):
            pairs.append(
                {"id": f"p{len(pairs)}", "query": query, "title": kind, "label": label, "product_id": len(pairs),
                 "attributes": {"product colour": offered}, "raters": [label, label, "3"]}
            )  # fmt: skip
        marked.append((query if n < 20 else f"{query} old", color))
    marked += [(f"{color} {word}", color) for color in COLORS for word in ("hat", "sock", "rug", "pen")]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    rows = [
        {"query_key": f"k{n}", "query": q, "tokens": q.split(),
         "tags": ["B-color", "B-core_product_type", "B-condition"][: len(q.split())]}
        for n, (q, _) in enumerate(marked)
    ]  # fmt: skip
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "recipe.yaml").write_text(
        f"name: shop\ndomain: chorus\nout: {tmp_path}/run\nstages:\n  data: {STAGE.format(tmp_path)}\n"
    )
    return tmp_path


def run(shop: Path, cli: Cli, *overrides: str) -> tuple[DataFolder, str]:
    code, out, err = cli("run", shop / "recipe.yaml", *overrides)
    assert code == 0, err
    return DataFolder(shop / "run/stages/data"), out + err


def test_people_program_and_exercises(shop: Path, cli: Cli) -> None:
    data, told = run(shop, cli)
    splits = {name: data.pairs(name) for name in ("training", "development", "test")}
    assert sum(map(len, splits.values())) == 120 and len(splits["test"]) == pytest.approx(30, abs=6)
    asked = {name: {near_query(p.query) for p in pairs} for name, pairs in splits.items()}
    assert not asked["training"] & asked["test"] and not asked["development"] & asked["training"]

    exercises = [p for p in data.pairs("demonstration") if p.label is None]
    assert exercises and {p.pair_id[:6] for p in exercises} == {"query-"}
    assert not {near_query(p.query) for p in exercises} & (asked["test"] | asked["development"])
    titles = {p.product.title for p in splits["training"]}
    assert {p.product.title for p in exercises} <= titles
    shown = {d.pair_id: d for d in data.demonstrations()}
    assert len(shown) == len(splits["training"]) + len(exercises)
    assert all(d.taught == ("query",) and "\n" not in d.response for i, d in shown.items() if i.startswith("query-"))
    assert all(d.taught is None for i, d in shown.items() if not i.startswith("query-"))

    said = data.annotations() + data.truth()
    by_step = {step: {a.annotator for a in said if a.step == step} for step in ("query", "category", "attributes")}
    assert by_step == {"query": {"queryner"}, "category": {"machine:catalogue"}, "attributes": {"machine:catalogue"}}
    first = next(p for p in splits["training"] if p.query == "red mug" or p.query == "blue mug")
    own = {a.step: a.conclusion for a in said if a.pair_id == first.pair_id}
    assert own["query"] == f"product type: mug; color: {first.query.split()[0]}"
    assert own["category"] == "same" and own["attributes"] in ("color: match", "color: conflict", "color: unstated")
    assert "test: known steps of" in told and "color: 120 requirements" in told
    assert {t for p in splits["test"] for t in p.tags} == {"unanimous", "disputed"}


def test_unknown_steps_can_be_masked_and_exercises_left_out(shop: Path, cli: Cli) -> None:
    data, _ = run(shop, cli, "stages.data.typed.untold=mask", "stages.data.typed.exercises=0")
    shown = data.demonstrations()
    assert len(shown) == len(data.pairs("training"))
    assert all(d.taught is not None and d.taught[-1] == "label" for d in shown)
    assert any("query" not in (d.taught or ()) for d in shown)


@pytest.mark.parametrize("untold", ["teach", "mask"])
def test_made_up_queries_are_written_with_every_step_too(shop: Path, cli: Cli, untold: str) -> None:
    domain = load_domain("chorus")
    data, told = run(shop, cli, "stages.data.matching={count: 20}", f"stages.data.typed.untold={untold}")
    made = {p.pair_id: p for p in data.pairs("demonstration") if p.pair_id.startswith("match-")}
    shown = {d.pair_id: d for d in data.demonstrations() if d.pair_id in made}
    assert len(made) > 10 and shown.keys() == made.keys() and f"made-up queries: {len(made)}" in told
    best = domain.labels[0]
    for key, demonstration in shown.items():
        response = parse_response(domain, demonstration.response)
        assert response.well_formed and response.label == made[key].label
        category = next(
            s.text for spec, s in zip(domain.steps, response.steps, strict=True) if s and spec.key == "category"
        )
        assert (category == best.category) is (made[key].label == best.code), (made[key].query, demonstration.response)
        assert (demonstration.taught is None) is (untold == "teach")
    # Never a reference: nobody, not even the program, says anything about a made-up query.
    assert not made.keys() & {a.pair_id for a in data.annotations() + data.truth()}


def test_the_marked_queries_count_for_the_fingerprint(shop: Path) -> None:
    def fingerprint(*overrides: str) -> str:
        recipe = load_recipe(shop / "recipe.yaml", overrides)
        return plan(recipe, recipe.load_domain())[0].fingerprint

    before = fingerprint()
    assert fingerprint("stages.data.fold={number: 2, of: 4}") != before
    (shop / "queries.jsonl").write_text((shop / "queries.jsonl").read_text() + "\n")
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("stages.data.typed=null", "`teacher: catalogue` and the section `typed` go together"),
        ("stages.data.fold={number: 4, of: 4}", "`number` counts from 0 to 3"),
        ("domain=esci", "the catalogue teacher writes the steps of 'chorus' and 'esci-typed'"),
        ("stages.data.typed.queries=no.jsonl", "no.jsonl"),
        ("stages.data={kind: pairs, path: x.csv, teacher: none, matching: {count: 3}}", "`matching` needs a teacher"),
    ],
)
def test_mistakes_are_one_line(shop: Path, cli: Cli, change: str, told: str) -> None:
    code, _, err = cli("run", shop / "recipe.yaml", change)
    assert code == 2 and told in err and len(err.strip().splitlines()) == 1


def test_outcomes_by_raters_are_another_run_and_the_default_is_the_run_of_before() -> None:
    def computed(*overrides: str) -> dict[str, Any]:
        return load_recipe("chorus", overrides).stages["srpo"].computed()

    assert "outcome_by" not in computed()["settings"]
    assert computed("stages.srpo.settings.outcome_by=label") == computed()
    assert computed("stages.srpo.settings.outcome_by=raters")["settings"]["outcome_by"] == "raters"


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "stages/evaluate/results.json").read_text())
    return found


SHARED = Path("../shared/data")
FEW = (
    "threads=1", "stages.data.typed.exercises=100", "stages.sft.settings.epochs=1", "stages.sft.tiny.vocab_size=1024",
    "stages.grpo.settings.updates=1", "stages.srpo.settings.updates=1", "stages.srpo.settings.outcome_by=raters",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data is not here: {SHARED} (see docs/real-data.md)")
@pytest.mark.parametrize(
    ("recipe", "where"),
    [("chorus", "{brand: [HP, Samsung]}"), ("esci-typed", "{locale: us, selection: random_pairs}")],
)
def test_the_shipped_recipes_run_from_pairs_to_evaluation(tmp_path: Path, cli: Cli, recipe: str, where: str) -> None:
    code, _, err = cli("run", recipe, f"out={tmp_path / 'run'}", f"stages.data.where={where}", *FEW)
    assert code == 0, err
    found = result(tmp_path / "run")["models"]
    assert set(found) == {"majority", "tfidf", "sft", "grpo", "srpo"}
    known = {key for key, value in found["srpo"]["metrics"].items() if key.startswith("step_") and value is not None}
    assert {"step_category", "step_attributes", "step_label"} <= known
    if recipe == "chorus":
        assert "unanimous" in found["srpo"]["slices"]
