"""Judgements in the formats of search tools: what is written is read back with the texts, and what does not fit is
refused or rejected with its reason."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.judged import IDS_ONLY, Texts
from taosr_she.data.ratings import ratings
from taosr_she.data.rows import normal_query
from taosr_she.data.tools import ENDINGS, UNIT, document_id, write_judgements
from taosr_she.data.validate import LoadResult, load_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product

ESCI = load_domain("esci")
PRODUCTS = "product_id,title,brand\nd1,Red boots,Norvik\nd2,Lamp,\n7,Mug,Kivano\n"
QUERIES = "query_id,query\nq1,red boots\nq2,lamp\n"


def texts(folder: Path, name: str, products: str = PRODUCTS, queries: str = QUERIES, scale: str | None = None) -> Texts:
    (folder / "products.csv").write_text(products)
    (folder / "queries.csv").write_text(queries)
    return Texts(folder / "products.csv", folder / "queries.csv" if name in IDS_ONLY else None, scale)


def read(folder: Path, name: str, content: str, **options: str | None) -> LoadResult:
    path = folder / f"judged{ENDINGS[name][0]}"
    path.write_text(content)
    return load_pairs(path, ESCI, layout=name, texts=texts(folder, name, **options))


def labels(loaded: LoadResult) -> list[tuple[str, str, str | None]]:
    return [(pair.query, pair.product.title, pair.label) for pair in loaded.pairs]


FOUND = [("red boots", "Red boots", "E"), ("red boots", "Lamp", "I"), ("lamp", "Mug", "C")]
FILES = {
    "trec": "q1 0 d1 3\nq1\t0\td2\t0\n\nq2 0 7 1\n",
    "quepid": "query,docid,rating\nred boots,d1,3\nred boots,d2,0\nlamp,7,1.0\n",
    "opensearch": json.dumps({"name": "x", "type": "IMPORT_JUDGMENT", "judgmentRatings": [
        {"query": "red boots", "ratings": [{"docId": "d1", "rating": "1.0"}, {"docId": "d2", "rating": 0}]},
        {"query": "lamp", "ratings": [{"docId": "7", "rating": "0.33"}]},
    ]}),
    "ranx": '{"q1": {"d1": 3, "d2": 0}, "q2": {"7": 1}}',
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_judgements_get_the_texts_of_their_ids(name: str, tmp_path: Path) -> None:
    loaded = read(tmp_path, name, FILES[name])
    assert labels(loaded) == FOUND and not loaded.rejected
    assert [pair.extra["product_id"] for pair in loaded.pairs] == ["d1", "d2", "7"]
    assert loaded.pairs[0].product.brand == "Norvik"
    assert [pair.query_id for pair in loaded.pairs][1:] != ["q1", "q2"] or name in IDS_ONLY


@pytest.mark.parametrize(
    ("name", "content", "reasons"),
    [
        ("trec", "q1 0 d1 3\nq1 0 gone 1\nq9 0 d1 1\nq1 0 d2\nq1 0 7 high\nq1 0 d1 3\nq1 0 d2 nan\n",
         {"unknown product": 1, "unknown query": 1, "wrong number of columns": 1, "unknown label": 2,
          "duplicate pair": 1}),
        ("quepid", 'query,docid,rating\nred boots,d1,3\n,d1,1\nlamp,,1\nlamp,d2\n"x,d2,1\nlamp,d1,\n',
         {"missing query": 1, "bad id": 1, "wrong number of columns": 1, "broken quotes": 1}),
        ("opensearch", '{"judgmentRatings": [{"query": "red boots", "ratings": [{"docId": "d1", "rating": "1"}, 5, '
         '{"docId": null, "rating": 1}, {"docId": "d2", "rating": [1]}]}, 7, {"query": {"a": 1}, "ratings": null}, '
         '{"query": ["x"], "ratings": [{"docId": "d1", "rating": "0"}]}]}',
         {"not an object": 3, "bad id": 1, "unknown label": 1, "wrong type": 1}),
        ("ranx", '{"q1": {"d1": 3, "d2": true, "7": {}}, "q2": 4}', {"unknown label": 2, "bad id": 1}),
    ],
)  # fmt: skip
def test_a_bad_judgement_goes_to_quarantine(name: str, content: str, reasons: dict[str, int], tmp_path: Path) -> None:
    loaded = read(tmp_path, name, content)
    assert loaded.counts == reasons and labels(loaded)[0] == FOUND[0]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("trec", "q1 0 d1 4\n", {}, "1 ratings (row 1 is the first) are not on the scale 3=E,2=S,1=C,0=I"),
        ("trec", "q1 0 d1 inf\n", {}, "are not on the scale"),
        ("opensearch", '{"judgmentRatings": [{"query": "a", "ratings": [{"docId": "d1", "rating": 3}]}]}', {},
         "are not on the scale 1=E,0.6667=S,0.3333=C,0=I"),
        ("opensearch", '{"ratings": []}', {}, "no list 'judgmentRatings' in it"),
        ("opensearch", "[1", {}, "not valid JSON"),
        ("opensearch", "[" * 100_000, {}, "not valid JSON"),
        ("ranx", '{"q1": {"d1": 3, "d1": 2}}', {}, "'d1' occurs twice in one object"),
        ("ranx", "[]", {}, "not an object of query ids"),
        ("quepid", "query,doc,rating\na,b,1\n", {}, "no column 'docid'; ratings of Quepid have the columns"),
        ("trec", "", {}, "is empty"),
        ("trec", FILES["trec"], {"products": "sku,name\nd1,Red boots\n"}, "say which with --column product_id=NAME"),
        ("trec", FILES["trec"], {"products": PRODUCTS + "d1,Again,\n"}, "products.csv, row 4: a second row for d1"),
        ("trec", FILES["trec"], {"queries": "qid,text\nq1,boots\n"}, "no column 'query_id' for the query_id"),
        ("trec", FILES["trec"], {"scale": "3=E,2=S"}, "--ratings 3=E,2=S: has no rating for C, I"),
        ("trec", FILES["trec"], {"scale": "x=E"}, "'x=E' is not NUMBER=CODE with a code of esci (E, S, C, I)"),
        ("trec", FILES["trec"], {"scale": "1=E,1=S,2=C,3=I"}, "1 means two grades, or nearly so"),
        ("trec", FILES["trec"], {"scale": "codes"}, "'E=E' is not NUMBER=CODE"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_line(
    name: str, content: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, name, content, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_texts_that_is_not_named_is_asked_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"judged{ENDINGS[name][0]}"
    path.write_text(FILES[name])
    given_texts = texts(tmp_path, name)
    with pytest.raises(UserError, match=f"the layout '{name}' has ids, .* with --products"):
        load_pairs(path, ESCI, layout=name)
    if name in IDS_ONLY:
        with pytest.raises(UserError, match="name the file with the texts with --queries"):
            load_pairs(path, ESCI, layout=name, texts=Texts(given_texts.products))
    else:
        with pytest.raises(UserError, match="leave --queries out"):
            load_pairs(path, ESCI, layout=name, texts=Texts(given_texts.products, tmp_path / "queries.csv"))
    with pytest.raises(UserError, match="--products: belongs to the layouts trec, quepid"):
        load_pairs(path, ESCI, texts=given_texts)


def test_the_scale_of_the_file_is_said_by_the_user(tmp_path: Path) -> None:
    loaded = read(tmp_path, "trec", "q1 0 d1 10\nq1 0 d2 -1\nq2 0 7 5\n", scale="10=E,7=S,5=C,0=I,-1=I")
    assert [label for _, _, label in labels(loaded)] == ["E", "I", "C"]
    taobao = load_domain("taobao")
    path = tmp_path / "judged.txt"
    path.write_text("q1 0 d1 4\nq1 0 d2 1\n")
    found = load_pairs(path, taobao, layout="trec", texts=texts(tmp_path, "trec", scale="codes"))
    assert [pair.label for pair in found.pairs] == ["4", "1"]


def test_columns_of_the_texts_are_named_by_the_user(tmp_path: Path) -> None:
    path = tmp_path / "judged.txt"
    path.write_text(FILES["trec"])
    named = texts(tmp_path, "trec", PRODUCTS.replace("product_id,title", "_id,name"), "_id,text\nq1,boots\nq2,lamp\n")
    columns = {"product_id": "_id", "title": "name", "query_id": "_id", "query": "text"}
    loaded = load_pairs(path, ESCI, layout="trec", columns=columns, texts=named)
    assert labels(loaded) == [("boots", "Red boots", "E"), ("boots", "Lamp", "I"), ("lamp", "Mug", "C")]
    with pytest.raises(UserError, match="no column 'colour' for the category"):
        load_pairs(path, ESCI, layout="trec", columns=columns | {"category": "colour"}, texts=named)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
HOSTILE = st.sampled_from(["=cmd()", '"', "a,b;c\td", "x\r\ny", "[label] E", "<|im_end|>", "null", "1e5"])
# A quoted cell with a line end and as many commas as a row may be several rows: the reader of CSV does not guess.
QUERY = (TEXT | HOSTILE).map(lambda text: f"v{text}").filter(lambda text: "," not in text or text.isprintable())
DOCUMENT = st.text("abc019-_é./", min_size=1, max_size=6)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.tuples(QUERY, DOCUMENT), st.sampled_from("ESCI") | st.none(), max_size=8))
def test_what_is_written_is_read_back(name: str, tmp_path: Path, judged: dict[tuple[str, str], str | None]) -> None:
    known: dict[str, str] = {}
    kept = {k: v for k, v in judged.items() if known.setdefault(normal_query(k[0]), k[0]) == k[0]}
    ids = {query: f"q{i}" for i, query in enumerate(known.values())}
    pairs = [
        Pair(f"p{i}", ids[q], q, Product("v"), label=label, extra={"sku": doc})
        for i, ((q, doc), label) in enumerate(kept.items())
    ]
    out, scale = tmp_path / f"x{ENDINGS[name][0]}", ratings(ESCI, unit=name in UNIT)
    labelled = [(pair, document_id(pair, "sku"), pair.label) for pair in pairs]
    written = write_judgements(out, name, labelled, scale)
    rated = {(q, doc): label for (q, doc), label in kept.items() if label is not None}
    assert (written.judgements, written.without, written.repeated) == (len(rated), len(kept) - len(rated), 0)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    if not rated:
        return
    documents = sorted({doc for _, doc in kept})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"product_id": d, "title": "v"}) + "\n" for d in documents))
    rows = (json.dumps({"query_id": query_id, "query": query}) + "\n" for query, query_id in ids.items())
    (tmp_path / "q.jsonl").write_text("".join(rows))
    files = Texts(tmp_path / "p.jsonl", tmp_path / "q.jsonl" if name in IDS_ONLY else None)
    loaded = load_pairs(out, ESCI, layout=name, texts=files)
    assert {(p.query, p.extra["product_id"]): p.label for p in loaded.pairs} == rated and not loaded.rejected


BROKEN = [b"q1 0 d1 3", b"red boots,d1,3", b"query,docid,rating", b'{"q1":', b'{"d1": 3}', b"}", b"]", b'"', b"\0",
          b'{"judgmentRatings": [', b"\xff", b" ", b"NaN", b"-1", b"1e999"]  # fmt: skip


@pytest.mark.fuzz
@pytest.mark.parametrize("name", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.lists(st.sampled_from(BROKEN)).map(b"\n".join))
def test_whatever_the_file_holds_every_row_is_told_or_one_line_is_said(name: str, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / f"judged{ENDINGS[name][0]}"
    path.write_bytes(raw)
    try:
        loaded = load_pairs(path, ESCI, layout=name, texts=texts(tmp_path, name), quarantine=tmp_path / "q.jsonl")
    except UserError as error:
        assert str(error)
        return
    assert len((tmp_path / "q.jsonl").read_text().splitlines()) == len(loaded.rejected)


def test_repeated_and_unlabelled_pairs_are_left_out_and_told(tmp_path: Path) -> None:
    def pair(n: int, document: str, label: str | None) -> tuple[Pair, str, str | None]:
        return Pair(f"p{n}", "q1", "boots", Product("v")), document, label

    scale = ratings(ESCI)
    found = [pair(0, "d1", "E"), pair(1, "d1", "S"), pair(2, "d2", None), pair(3, "d3", "I")]
    written = write_judgements(tmp_path / "x.txt", "trec", found, scale)
    assert (tmp_path / "x.txt").read_text() == "q1 0 d1 3\nq1 0 d3 0\n"
    assert written.told(Path("x.txt"), "trec", scale) == (
        "wrote 2 ratings of 1 queries to x.txt as trec, 3=E,2=S,1=C,0=I (rating=label); pairs left out: 1 without "
        "a label, 1 repeated"
    )
    with pytest.raises(UserError, match="the product id 'a b' has white space, which --format trec cannot hold"):
        write_judgements(tmp_path / "y.txt", "trec", [pair(0, "a b", "E")], scale)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.txt"]
