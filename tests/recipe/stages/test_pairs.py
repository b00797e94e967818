import io
from pathlib import Path

from rich.console import Console

from taosr_she.recipe.config import Recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.stages.pairs import PairsStage


def test_the_stage_says_rows_queries_of_each_split_and_reads_another_encoding(tmp_path: Path) -> None:
    rows = [f"café {n // 2},Tasse {n},{n % 4 + 1},ab 5" for n in range(40)] + ["café,Tasse,9,1"]
    (tmp_path / "x.csv").write_bytes("\n".join(["query,title,label,price", *rows]).encode("cp1252"))
    stage = PairsStage(kind="pairs", path=str(tmp_path / "x.csv"), encoding="cp1252", teacher="none")
    told = {"name": "x", "seed": 1, "out": str(tmp_path), "stages": {"data": stage.model_dump()}}
    recipe = Recipe.model_validate(told)
    said = io.StringIO()
    (tmp_path / "data").mkdir()
    context = Context("data", tmp_path / "data", recipe, recipe.load_domain(), Progress(Console(file=said, width=200)))
    counts = stage.run(context)
    lines = said.getvalue().splitlines()
    assert "40 of 41 rows are usable" in lines[0]
    assert "queries: 20; labels: 4: 10, 3: 10, 2: 10, 1: 10" in lines[1]
    assert "unreadable prices: 40 (row 1: 'ab 5')" in lines[2]
    splits = "training: 28 pairs of 14 queries, development: 4 pairs of 2 queries, test: 8 pairs of 4 queries"
    assert lines[-1].strip() == splits
    assert counts["queries"] == {"training": 14, "development": 2, "test": 4}
    assert (counts["rejected"], counts["bad_prices"]) == (1, 40)
