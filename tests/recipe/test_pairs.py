"""The stage `pairs`: which rows a recipe asks for."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]
RECIPE = """
name: shop
domain: esci
out: {out}
stages:
  data: {{kind: pairs, path: {path}, where: {where}, split: {{training: 0.5, development: 0.2, test: 0.3}}}}
"""


@pytest.fixture
def rows_of(tmp_path: Path, cli: Cli) -> Callable[..., list[dict[str, object]]]:
    """`rows_of(where, *more)` runs the stage on 48 pairs of three countries; what came into the splits."""
    rows = ["query,title,label,locale,product_id,price,new"]
    for n in range(48):
        country = ("se", "no", "dk")[n // 16]
        new = "true" if n % 3 else "no"
        rows.append(f"{country} mug {n // 2},mug {n},{'EI'[n % 2]},{country},{n + 1:05},1.{n % 10}0,{new}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")

    def run(where: str, *more: str) -> list[dict[str, object]]:
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(RECIPE.format(out=out, path=tmp_path / "pairs.csv", where=where))
        code, _, err = cli("run", recipe, *more)
        assert code == 0, err
        files = [out / f"stages/data/{split}.jsonl" for split in ("training", "development", "test")]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    return run


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("{locale: [se, no]}", {"se": 16, "no": 16}),
        ("{locale: no}", {"no": 16}),
        ("{product_id: [00012, 00013, 00018, 00019, 00040]}", {"se": 2, "no": 2, "dk": 1}),
        ("{price: 1.10, locale: [no, dk]}", {"no": 2, "dk": 1}),
        ("{new: true, locale: se}", {"se": 10}),
    ],
)
def test_where_finds_the_rows_that_it_names(rows_of: Callable, where: str, found: dict[str, int]) -> None:
    assert Counter(row["locale"] for row in rows_of(where)) == found
    by_override = rows_of("{locale: nowhere}", f"stages.data.where={where}")
    assert Counter(row["locale"] for row in by_override) == found


def test_not_scored_takes_lists_and_words_as_written(rows_of: Callable) -> None:
    everything = rows_of("{}")
    scored = rows_of("{}", "stages.data.not_scored={locale: [no, dk]}")
    kept = Counter(row["locale"] for row in scored)
    assert len(everything) == 48 and kept["se"] == 16 and kept["no"] < 16 and kept["dk"] < 16
    assert len(rows_of("{}", "stages.data.not_scored={new: no}")) < 48


def test_not_scored_by_a_column_that_is_not_there_is_one_line(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "pairs.csv").write_text("query,title,label,set\n" + "".join(f"mug {n},cup,E,x\n" for n in range(30)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(out=tmp_path / "run", path=tmp_path / "pairs.csv", where="{}"))
    code, _, err = cli("run", recipe, "stages.data.not_scored={sets: x}")
    assert code == 2 and "not_scored: no pair has 'sets'; there are set, pair_id" in err
