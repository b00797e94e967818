import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.annotation import is_reference, normal_text
from taosr_she.domain.pair import Annotation
from taosr_she.examine import database
from taosr_she.examine.store import AnnotationStore, Place, read_all

REFERENCE = Annotation("p1", "category", "same", annotator="ann", time="2024-05-01T10:00:00")
JUDGEMENT = Annotation("p1", "category", "Near  kind", "wrong", "same", "hm", "ann", "t", "1", "r1")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ids = st.sampled_from(["a", "b", "c"])
records = st.builds(
    Annotation, ids, ids, texts, st.sampled_from(["correct", "wrong", "unsure", "cannot_tell"]), texts, texts, ids,
    texts, texts, st.sampled_from(["", "r1", "r2"]),
)  # fmt: skip


@given(st.lists(records, max_size=30), ids, ids, texts)
def test_lookups_equal_a_slow_search(
    tmp_path_factory: pytest.TempPathFactory, items: list[Annotation], pair_id: str, step: str, text: str
) -> None:
    kept: list[Annotation] = []  # what the store holds, kept with loops and ifs
    for item in items:
        key = (item.pair_id, item.step, item.annotator, item.response_id, normal_text(item.conclusion))
        for old in kept:
            if (old.pair_id, old.step, old.annotator, old.response_id, normal_text(old.conclusion)) == key:
                kept.remove(old)
                break
        kept.append(item)
    path = tmp_path_factory.mktemp("store") / "a.db"
    half = len(items) // 2
    with AnnotationStore(path) as store:
        new = store.add(items[:half]) + store.add(items[half:])
        assert new == len(kept) == store.count()
        assert list(store.select()) == kept
        assert list(store.select(pair_id=pair_id, kind="verdict")) == [
            a for a in kept if a.pair_id == pair_id and not is_reference(a)
        ]
        assert store.count(step=step, annotator="b") == sum(a.step == step and a.annotator == "b" for a in kept)
        assert store.references([pair_id]) == [a for a in kept if a.pair_id == pair_id and is_reference(a)]
        place = Place(pair_id, step, text)
        wanted = (pair_id, step, normal_text(text))
        assert store.verdicts([place]) == [
            a for a in kept if (a.pair_id, a.step, normal_text(a.conclusion)) == wanted and not is_reference(a)
        ]


def test_saying_the_same_again_updates_and_counts_as_the_latest(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "new" / "a.db") as store:
        assert store.add([REFERENCE, JUDGEMENT]) == 2
        again = replace(REFERENCE, conclusion="SAME", time="2024-06-01T10:00:00")
        assert store.add([again, replace(REFERENCE, annotator="ben")]) == 1
        assert list(store.select()) == [JUDGEMENT, again, replace(REFERENCE, annotator="ben")]
    with AnnotationStore(f"sqlite:///{tmp_path}/new/a.db") as store:
        assert store.count() == 3


def test_lookups_of_more_than_one_chunk(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "a.db") as store:
        assert store.add(Annotation(f"p{i}", "s", "x", response_id="r" * (i % 2)) for i in range(2500)) == 2500
        assert len(store.references([f"p{i}" for i in range(3000)])) == 1250
        assert len(store.verdicts([Place(f"p{i}", "s", " X ") for i in range(3000)] * 2)) == 1250
        assert store.references([]) == store.verdicts([]) == []


def test_lookups_use_an_index(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "a.db") as store, store._engine.connect() as connection:
        for condition, index in (("pair_id IN ('a', 'b')", "by_pair"), ("place IN ('a', 'b')", "by_place")):
            plan = f"EXPLAIN QUERY PLAN SELECT * FROM annotations WHERE {condition} AND reference = 1 ORDER BY id"
            assert f"annotations_{index}" in str(connection.exec_driver_sql(plan).all())


def test_importing_the_module_imports_no_sqlalchemy() -> None:
    code = "import sys, taosr_she.examine.store as s; assert 'sqlalchemy' not in sys.modules and s.AnnotationStore"
    subprocess.run([sys.executable, "-c", code], check=True)


WRITER = """
    import sys
    from taosr_she.domain.pair import Annotation
    from taosr_she.examine.store import AnnotationStore
    store = AnnotationStore(sys.argv[1])
    for start in range(0, 10_000, 50):
        assert store.add(
            Annotation(f"p{i}", "category", "same", annotator=sys.argv[2]) for i in range(start, start + 50)
        ) == 50
    print("done")
"""
READER = """
    import sys
    from taosr_she.examine.store import AnnotationStore
    store, reads, seen = AnnotationStore(sys.argv[1]), 0, 0
    while seen < 20_000:
        now = store.count()
        assert now >= seen and now % 50 == 0, (seen, now)
        found = store.references([f"p{i}" for i in range(reads % 10_000, reads % 10_000 + 200)])
        assert all(a.conclusion == "same" for a in found)
        seen, reads = now, reads + 1
    print("read", reads)
"""


def test_two_processes_write_while_a_third_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")

    def start(code: str, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), path, *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    processes = [start(WRITER, "ann"), start(WRITER, "ben"), start(READER)]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert not any(err for _, err in outputs)
    with AnnotationStore(path) as store:
        assert store.count() == 20_000
        assert store.count(annotator="ann") == store.count(annotator="ben") == 10_000
        assert {a.pair_id for a in store.select(annotator="ben")} == {f"p{i}" for i in range(10_000)}


def test_a_lock_is_waited_for_and_told_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3
    import threading

    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    path = tmp_path / "a.db"
    with AnnotationStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        assert store.add([REFERENCE]) == 1  # locked at first: tried again until the other one is through
        timer.join()
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.1)
        with pytest.raises(UserError, match=r"kept it locked for 0 seconds"):
            store.add([JUDGEMENT])
        other.close()
        assert list(store.select()) == [REFERENCE]


def test_what_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("pair_id,step\n" * 100)
    for place, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "text.db", "not a database"),
        ("nonsense://", "not a database URL"),
        ("postgresql://someone:secret@localhost:port/x?password=secret", "not a database URL"),
        ("postgresql://***@localhost/x", "the URL is masked"),
        ("sqlite://", "in memory is gone at the end"),
        ("sqlite:///:memory:", "in memory is gone at the end"),
        (f"sqlite:///{tmp_path}/x.db?timeout=secret", "not a database URL"),
        (f"sqlite:///{tmp_path}", "unable to open database file"),
        (tmp_path / "text.db" / "a.db", "its folder cannot be made"),
        ("postgresql+pg8000://someone:secret@localhost/x", "the driver is not installed: pg8000"),
    ):
        with pytest.raises(UserError, match=message) as error:
            AnnotationStore(place)
        assert "\n" not in str(error.value) and "secret" not in str(error.value)
    with AnnotationStore(tmp_path / "a.db") as store, pytest.raises(UserError, match="pair_id is longer than 255"):
        store.add([replace(REFERENCE, pair_id="p" * 300)])


def test_reading_makes_and_changes_nothing(tmp_path: Path) -> None:
    import sqlite3

    with pytest.raises(UserError, match="is a folder"):
        read_all(tmp_path)
    for source in (tmp_path / "none.db", f"sqlite:///{tmp_path}/none.db"):
        with pytest.raises(UserError, match="no such file"):
            read_all(source)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (id INTEGER)")
        shop.commit()
    before = (tmp_path / "shop.db").read_bytes()
    with pytest.raises(UserError, match=r"shop\.db: holds no annotations \(no table `annotations`\)"):
        read_all(tmp_path / "shop.db")
    assert (tmp_path / "shop.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.db"]


def test_a_read_only_store_is_read_and_not_written(tmp_path: Path) -> None:
    with AnnotationStore(tmp_path / "a.db") as store:
        store.add([REFERENCE, JUDGEMENT])
    read_only = f"sqlite:///file:{tmp_path}/a.db?mode=ro&uri=true"
    assert read_all(read_only) == [REFERENCE, JUDGEMENT]
    with (
        AnnotationStore(read_only) as store,
        pytest.raises(UserError, match="cannot be written: attempt to write a readonly database"),
    ):
        store.add([REFERENCE])


@pytest.mark.parametrize("create", [True, False])
def test_the_table_of_another_program_is_left_alone(tmp_path: Path, create: bool) -> None:
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "a.db")) as other:
        other.execute("CREATE TABLE annotations (id INTEGER, key TEXT, verdict TEXT)")
        other.commit()
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(UserError, match="its table `annotations` is another program's, it lacks place, reference"):
        AnnotationStore(tmp_path / "a.db", create)
    assert (tmp_path / "a.db").read_bytes() == before


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1), st.binary(min_size=1, max_size=300), st.booleans())
def test_a_damaged_database_is_read_or_told_in_one_line(tmp_path: Path, where: float, damage: bytes, cut: bool) -> None:
    good, bad = tmp_path / "good.db", tmp_path / "bad.db"
    if not good.exists():
        with AnnotationStore(good) as store:
            store.add(replace(JUDGEMENT, pair_id=f"p{i}", note="n" * 50) for i in range(100))
        import sqlite3

        with closing(sqlite3.connect(good)) as direct:  # all in one file, so that damage is met
            direct.execute("PRAGMA journal_mode = DELETE")
    content = bytearray(good.read_bytes())
    at = int(where * (len(content) - 1))
    content[at : len(content) if cut else at + len(damage)] = b"" if cut else damage
    bad.write_bytes(content)
    for ending in ("-wal", "-shm", "-journal"):
        bad.with_name(bad.name + ending).unlink(missing_ok=True)

    def add() -> None:
        with AnnotationStore(bad) as store:
            store.add([REFERENCE])
            store.references(["p1"])

    for action in (lambda: read_all(bad), add):
        try:
            action()
        except UserError as error:
            assert "\n" not in str(error) and "bad.db" in str(error)
