from pathlib import Path

from taosr_she.data.summary import summary
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import load_domain

ROWS = """query,title,label,price
red mug,Mug,4,5
RED  mug,Cup,1,ask
lamp,Lamp,,
lamp,,4,
hat,Hat,9,
sock,Sock,nine,
"""


def test_rows_queries_labels_prices_and_reasons(tmp_path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(ROWS)
    loaded = load_pairs(path, load_domain("taobao"))
    assert list(summary(Path("x.csv"), loaded.tally, Path("q.jsonl"))) == [
        "x.csv: 3 of 6 rows are usable",
        "  queries: 2; labels: 4: 1, 1: 1, none: 1",
        "  unreadable prices: 1 (row 2: 'ask'); the pairs are kept without a price, the cells in other columns",
        "       2  unknown label",
        "       1  missing title",
        "rejected rows with reasons: q.jsonl",
    ]


def test_nothing_to_tell_is_one_line(tmp_path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("query,title\n,\n")
    loaded = load_pairs(path, load_domain("taobao"))
    assert list(summary(Path("x.csv"), loaded.tally, Path("q.jsonl"))) == [
        "x.csv: 0 of 1 rows are usable", "       1  missing query", "rejected rows with reasons: q.jsonl",
    ]  # fmt: skip
