"""`taosr-she data convert`: to the formats of search tools and back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]
ENDINGS = {"trec": ".txt", "quepid": ".csv", "opensearch": ".json", "ranx": ".json"}


@pytest.mark.parametrize("name", ENDINGS)
def test_labels_go_to_a_search_tool_and_come_back_with_their_texts(
    name: str, pairs: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()][:-1]
    Path("own.jsonl").write_text("".join(json.dumps(row | {"sku": row["title"][:3]}) + "\n" for row in rows))
    out = f"ratings{ENDINGS[name]}"
    convert = ("data", "convert", "--domain", "esci")
    code, said, _ = cli(*convert, "own.jsonl", out, "--format", name, "--column", "product_id=sku")
    assert code == 0 and f"wrote 8 ratings of 4 queries to {out} as {name}, " in said
    titles = sorted({row["title"] for row in rows})
    Path("products.csv").write_text("sku,title\n" + "".join(f"{title[:3]},{title}\n" for title in titles))
    texts: tuple[str, ...] = ("--products", "products.csv", "--column", "product_id=sku")
    if name in ("trec", "ranx"):
        assert cli("data", "convert", "--domain", "esci", "own.jsonl", "queries.jsonl")[0] == 0
        known = {}
        for line in Path("queries.jsonl").read_text().splitlines():
            row = json.loads(line)
            known[row["query_id"]] = row["query"]
        Path("queries.csv").write_text("query_id,query\n" + "".join(f"{k},{q}\n" for k, q in known.items()))
        texts += ("--queries", "queries.csv")
    code, said, error = cli(*convert, out, "back.jsonl", "--layout", name, *texts)
    assert code == 0 and "8 of 8 rows are usable" in said, error
    back = [json.loads(line) for line in Path("back.jsonl").read_text().splitlines()]
    assert {(r["query"], r["title"], r["label"]) for r in back} == {(r["query"], r["title"], r["label"]) for r in rows}
    code, said, _ = cli("data", "validate", "--domain", "esci", out, "--layout", name, *texts, "--require-label")
    assert code == 0 and "8 of 8 rows are usable" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs.jsonl", "o.txt", "--format", "quepid"], "output o.txt: --format quepid writes a file that ends in"),
        (["pairs.jsonl", "o.csv", "--format", "quepid", "--ratings", "codes"], "'E=E' is not NUMBER=CODE"),
        (["pairs.jsonl", "o.csv", "--products", "pairs.jsonl"], "--products: belongs to the layouts trec, quepid"),
        (["pairs.jsonl", "o.csv", "--ratings", "codes"], "--ratings: belongs to the layouts trec, quepid"),
        (["pairs.jsonl", "o.csv", "--layout", "ranx", "--format", "quepid"], "convert it to pairs first"),
        (["no.txt", "o.csv", "--layout", "trec", "--products", "pairs.jsonl", "--queries", "pairs.jsonl"],
         "no.txt: no such file"),
        (["pairs.jsonl", "o.csv", "--layout", "trec", "--products", "pairs.jsonl"], "with --queries"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    arguments: list[str], message: str, pairs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs.parent)
    code, _, error = cli("data", "convert", "--domain", "esci", *arguments)
    assert code == 2 and message in error and len(error.splitlines()) == 1
    assert sorted(path.name for path in pairs.parent.iterdir()) == ["pairs.jsonl"]
