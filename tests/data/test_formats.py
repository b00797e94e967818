import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.formats import ReadError, file_format, read_csv, read_jsonl


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def outcomes(rows) -> list:
    """Cells or reason of every row; checks that rows are numbered without a gap."""
    listed = list(rows)
    assert [n for n, _ in listed] == list(range(1, len(listed) + 1))
    return [r.reason if isinstance(r, ReadError) else r for _, r in listed]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("A.TSV.GZ", "tsv"), ("a.ndjson", "jsonl"), ("a.b.jsonl.gz", "jsonl"), ("a.parquet", "parquet")],
)
def test_the_name_gives_the_format(name: str, kind: str) -> None:
    assert file_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a", "a.parquet.gz", "a.gz"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown file ending; use one of \.csv"):
        file_format(Path(name))


def test_jsonl_reads_past_bom_mixed_newlines_and_blank_lines(tmp_path) -> None:
    content = '\ufeff{"a": "é"}\r\n\n  \n{"a": 2}\r{"a": NaN}\n{"a": "x"}'.encode()
    for name in ("x.jsonl", "x.jsonl.gz"):
        rows = outcomes(read_jsonl(put(tmp_path, name, content)))
        assert rows == [{"a": "é"}, {"a": 2}, {"a": None}, {"a": "x"}]


def test_jsonl_blames_single_lines(tmp_path) -> None:
    deep = b"[" * 40 + b"]" * 40
    lines = [b'{"a": 1', b"[1]", b'"text"', b'{"a": "\xff"}', b'{"a": "\0"}', b'{"a": ' + deep + b"}", b"[" * 100_000,
             b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1}']  # fmt: skip
    assert outcomes(read_jsonl(put(tmp_path, "x.jsonl", b"\n".join(lines)))) == [
        "broken json", "not an object", "not an object", "wrong encoding", "null byte", "broken json", "broken json",
        "broken json", {"a": 1},
    ]  # fmt: skip


def test_broken_rows_keep_their_text(tmp_path) -> None:
    ((_, row),) = read_jsonl(put(tmp_path, "x.jsonl", b'{"a": "caf\xe9"}'))
    assert isinstance(row, ReadError)
    assert row.raw == '{"a": "caf\\xe9"}'


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv_finds_the_delimiter_and_keeps_quoted_line_breaks(tmp_path, delimiter: str) -> None:
    text = '\ufeffa|b\r\n1|"x|y"\n"two\r\nlines"|"say ""hi"""\r\n\n|end'.replace("|", delimiter)
    rows = outcomes(read_csv(put(tmp_path, "x.csv", text.encode())))
    assert rows == [
        {"a": "1", "b": f"x{delimiter}y"},
        {"a": "two\r\nlines", "b": 'say "hi"'},
        {"a": None, "b": "end"},
    ]


def test_csv_blames_single_rows_and_an_open_quote_costs_one_line(tmp_path) -> None:
    content = b'a,b\n1,2,3\n1\n\xff,2\n"open,2\n3,4\n"x"y,2\n5,"6\n7"\n' + b"z" * 140_000 + b',2\n8,9\n"open'
    assert outcomes(read_csv(put(tmp_path, "x.csv", content))) == [
        "wrong number of columns", "wrong number of columns", "wrong encoding", "broken quotes", {"a": "3", "b": "4"},
        "broken quotes", {"a": "5", "b": "6\n7"}, "text too long", {"a": "8", "b": "9"}, "broken quotes",
    ]  # fmt: skip


STRAY = [
    "query|title|label", 'office desk|"L-shaped desk|4', "tv stand|Oak TV stand|3", "lamp|Desk lamp|1",
    'tv|Monitor 27"|1', "mug|Red mug|4",
]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_stray_quote_does_not_hold_rows_together(tmp_path, delimiter: str) -> None:
    text = "\n".join(STRAY).replace("|", delimiter)
    rows = outcomes(read_csv(put(tmp_path, "x.csv", text.encode())))
    first, *others = [dict(zip(("query", "title", "label"), line.split("|"), strict=True)) for line in STRAY[1:]]
    assert rows == [first if delimiter == "\t" else "broken quotes", *others]


def test_two_rows_that_may_be_one_come_through_as_neither(tmp_path) -> None:
    text = 'query,title,label\nmug,"Red, 4\ntv, Monitor 27",1\nlamp,"Desk,4\ndesk,Oak 27",1\nmug,Red mug,4\n'
    rows = list(read_csv(put(tmp_path, "x.csv", text.encode())))
    assert outcomes(rows) == ["unclear quotes", "unclear quotes", {"query": "mug", "title": "Red mug", "label": "4"}]
    assert [row.raw for _, row in rows[:2]] == ['mug,"Red, 4\ntv, Monitor 27",1', 'lamp,"Desk,4\ndesk,Oak 27",1']


@pytest.mark.parametrize(
    "cell",
    ["two\nlines", "a list:\nred, blue\ngreen, black", "a table\na\tb\tc\n\nend", 'she said\n"so, there"', "\n\n,\n"],
)
def test_text_of_several_lines_stays_one_cell(tmp_path, cell: str) -> None:
    for delimiter in ",\t;":
        quoted = cell.replace('"', '""')
        text = 'a|b|c|d\n1|2|"CELL"|4\n5|6|7|8\n'.replace("|", delimiter).replace("CELL", quoted)
        rows = outcomes(read_csv(put(tmp_path, "x.csv", text.encode())))
        assert rows == [{"a": "1", "b": "2", "c": cell, "d": "4"}, {"a": "5", "b": "6", "c": "7", "d": "8"}]


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;", "sep=;;;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_first_line_may_name_the_delimiter(tmp_path, line: str, end: str) -> None:
    content = end.join([line, "a;b", '"x, y";2', ""]).encode()
    assert outcomes(read_csv(put(tmp_path, "x.csv", content))) == [{"a": "x, y", "b": "2"}]
    tabs = content.replace(b";", b"\t")
    assert outcomes(read_csv(put(tmp_path, "x.tsv", tabs), "\t")) == [{"a": "x, y", "b": "2"}]


def test_a_file_that_only_names_its_delimiter_is_empty(tmp_path) -> None:
    with pytest.raises(UserError, match="is empty"):
        list(read_csv(put(tmp_path, "x.csv", b"sep=;\n")))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_marks_name_the_encoding(tmp_path, encoding: str) -> None:
    assert outcomes(read_csv(put(tmp_path, "x.csv", "a,b\né,2\n".encode(encoding)))) == [{"a": "é", "b": "2"}]
    assert outcomes(read_jsonl(put(tmp_path, "x.jsonl.gz", '{"a": "é"}\n'.encode(encoding)))) == [{"a": "é"}]


def test_names_lose_white_space_unless_it_tells_them_apart(tmp_path) -> None:
    assert outcomes(read_csv(put(tmp_path, "x.csv", b" a , b\n1,2\n"))) == [{"a": "1", "b": "2"}]
    assert outcomes(read_csv(put(tmp_path, "x.csv", b"a,a ,\n1,2,3\n"))) == [{"a": "1", "a ": "2", "column_3": "3"}]


def test_a_saved_row_index_gets_a_name(tmp_path) -> None:
    assert outcomes(read_csv(put(tmp_path, "x.csv", b",a\n0,x\n"))) == [{"column_1": "0", "a": "x"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,a\n1,2\n", "the header names a column twice: a"),
        (b"\xff\x00\n", "not a header of column names in UTF-8"),
        (b"\xff\xfea\0\n\0\x00\xd8\n\0", "is not utf-16 after line 0"),
    ],
)
def test_unusable_csv_files_are_one_clear_line(tmp_path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_csv(put(tmp_path, "x.csv", content)))


def test_damaged_gzip_and_missing_files_are_one_clear_line(tmp_path) -> None:
    whole = gzip.compress(b"\n".join(json.dumps({"a": n}).encode() for n in range(20_000)))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"the gzip data is damaged after line \d\d+"):
        list(read_jsonl(cut))
    cut.write_bytes(b"plain text")
    with pytest.raises(UserError, match="the gzip data is damaged after line 0"):
        list(read_jsonl(cut))
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read"):
        list(read_csv(tmp_path / "gone.csv"))


def test_rows_stream(tmp_path) -> None:
    """The first row is there before the broken end of the file is reached."""
    whole = gzip.compress(b'{"a": 1}\n' * 100_000, mtime=0)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(whole[:-200])
    assert next(read_jsonl(path)) == (1, {"a": 1})


CHUNKS = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"{", b"}", b":", b"a", b"1"]), max_size=60
)


@pytest.mark.fuzz
@given(content=CHUNKS.map(b"".join) | st.binary(max_size=60))
def test_random_bytes_never_crash_a_reader(tmp_path_factory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    jsonl = outcomes(read_jsonl(put(folder, "random.jsonl", b"x\n" + content)))  # x: the UTF-16 check is not meant here
    assert len(jsonl) == sum(1 for line in _lines(b"x\n" + content) if line.strip(" \t"))
    csv = outcomes(read_csv(put(folder, "random.csv", b"a,b\n" + content)))
    # Every line is in some record, and no record is invented.
    assert len(csv) <= len(_lines(content))
    assert csv or not content.strip(b'\r\n \t"')


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")


# A cell that starts with a comma or a line break would truly close the open quote before it: no reader can tell.
# Nor whether lines with a comma each are rows or text: they go to quarantine together.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0,"), max_size=8).map(lambda t: "v" + t)


@pytest.mark.fuzz
@given(good=st.lists(st.tuples(st.integers(), CELLS), max_size=6), broken=st.integers(0, 6))
def test_one_broken_line_costs_no_other_row(tmp_path_factory, good, broken: int) -> None:
    lines = [f'{n},"{cell.replace(chr(34), chr(34) * 2)}"' for n, cell in good]
    lines.insert(min(broken, len(lines)), 'x,"never closed')
    path = put(tmp_path_factory.getbasetemp(), "one.csv", "\n".join(["a,b", *lines]).encode())
    rows = outcomes(read_csv(path))
    expected = [{"a": str(n), "b": cell} for n, cell in good]
    assert [r for r in rows if r in expected] == expected


TEXT_WITH_QUOTES = st.text(st.sampled_from('""ab '), max_size=5)


@pytest.mark.fuzz
@given(st.lists(st.tuples(TEXT_WITH_QUOTES, TEXT_WITH_QUOTES, TEXT_WITH_QUOTES), max_size=8), st.sampled_from(",\t;"))
def test_stray_quotes_never_mix_rows_and_lose_none(tmp_path_factory, cells, delimiter: str) -> None:
    # Every cell names its row, before or after its random text, so that quotes may stand at either end.
    rows = [[f"{text}{n}" if n % 2 else f"{n}{text}" for text in row] for n, row in enumerate(cells, start=1)]
    content = "\n".join(delimiter.join(row) for row in [["a", "b", "c"], *rows])
    listed = list(read_csv(put(tmp_path_factory.getbasetemp(), "stray.csv", content.encode())))
    seen = ""
    for _, row in listed:
        if isinstance(row, ReadError):
            seen += row.raw + "\n"
            continue
        (number,) = {"".join(c for c in cell if c.isdigit()) for cell in row.values()}
        assert len(number) == 1
        seen += delimiter.join(rows[int(number) - 1]) + "\n"
    assert seen == "".join(delimiter.join(row) + "\n" for row in rows)
