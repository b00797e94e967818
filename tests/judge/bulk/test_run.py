"""Bulk jobs: what is judged, what belongs to a job, and folders of parts as input and output."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_bulk import DOMAIN, answer, run, write_rows

from taosr_she.base.errors import UserError
from taosr_she.data.on_disk import TextsOnDisk, scratch
from taosr_she.data.read import read_pairs
from taosr_she.data.validate import load_pairs
from taosr_she.data.write import write_pairs
from taosr_she.judge.bulk.log import Log
from taosr_she.judge.bulk.run import NoPairs, Order, begin
from taosr_she.judge.decision import Decision
from taosr_she.judge.judgement import judgement_columns

Make = Callable[..., Order]


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.csv", "o.tsv.gz", "o.parquet", "o"])
def test_the_output_is_what_one_table_of_all_pairs_would_be(name: str, order: Make, tmp_path: Path) -> None:
    job = order(name)
    assert run(job)
    loaded = load_pairs(job.pairs, DOMAIN, quarantine=tmp_path / "expected.quarantine.jsonl")
    pairs = [replace(p, extra=p.extra | judgement_columns(DOMAIN, answer(DOMAIN, p))) for p in loaded.pairs]
    write_pairs(tmp_path / f"expected-{name}", pairs)
    whole = read_pairs(tmp_path / f"expected-{name}")
    found = read_pairs(job.out)
    assert [(p.pair_id, kept(p.extra)) for p in found] == [(p.pair_id, kept(p.extra)) for p in whole]
    assert job.quarantine.read_text() == (tmp_path / "expected.quarantine.jsonl").read_text()
    assert not job.folder.exists()


def kept(extra: dict[str, object]) -> dict[str, object]:
    """Without the probabilities of one pair that are no numbers, which the job writes as nothing."""
    return {k: v for k, v in extra.items() if str(v) not in ("nan", "null")}


def test_a_folder_of_files_is_read_as_one_and_a_folder_of_parts_is_one(order: Make, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    write_rows(folder / "b.jsonl", range(20, 37))
    write_rows(folder / "a.jsonl", range(20))
    (folder / "c.csv").write_text("")  # a part without rows
    for other in ("README.md", "_SUCCESS.csv", ".hidden.csv", "a.jsonl.quarantine.jsonl"):
        (folder / other).write_text("not pairs")
    job = order("o.csv", pairs=folder, keep_parts=True)
    run(job)
    assert [pair.extra["n"] for path in sorted(job.out.glob("part*")) for pair in read_pairs(path)] == [
        str(n) for n in range(37) if n % 10 != 9
    ]
    assert sorted(p.name for p in job.out.iterdir()) == [
        "_job.json", "_journal.jsonl", "_rejected", *(f"part-{i:06d}.csv" for i in range(5))
    ]  # fmt: skip
    assert [json.loads(line)["row"] for line in job.quarantine.read_text().splitlines()] == [10, 20, 30]
    asked = tmp_path / "asked"
    assert run(job, asked) and not asked.exists(), "nothing was left to judge"
    again = order("again.jsonl", pairs=job.out)
    assert run(again) and len(read_pairs(again.out)) == 34


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job, t: write_rows(job.pairs, range(38)), "the content of {pairs} has changed"),
        (lambda job, t: (t / "model" / "config.json").write_text("[]"), "the files of {model} have changed"),
        (lambda job, t: {"domain": DOMAIN.with_overrides({"prompt": {"instruction": "?"}})},
         "its domain differs in prompt.instruction"),
        (lambda job, t: {"max_new_tokens": 9}, "--max-new-tokens was 128, and is now 9"),
        (lambda job, t: {"decision": Decision(rule="argmax")},
         'the decision rule was {{"rule": "text"}}, and is now {{"rule": "argmax"}}'),
        (lambda job, t: {"encoding": "cp1252"}, "--encoding was not given, and is now cp1252"),
        (lambda job, t: {"mode": "label"}, "--mode was reason, and is now label"),
        (lambda job, t: (job.folder / "_job.json").write_text("{"), "its record is damaged"),
    ],
)  # fmt: skip
def test_another_job_with_the_same_output_is_refused_in_one_line(
    change: Callable[[Order, Path], object], message: str, order: Make, tmp_path: Path
) -> None:
    job = order("o.jsonl")
    begin(job)
    before = sorted(job.folder.iterdir())
    changed = change(job, tmp_path)
    other = replace(job, **changed) if isinstance(changed, dict) else job
    with pytest.raises(UserError) as error:
        begin(other)
    told = str(error.value)
    assert told.startswith(f"{job.folder}: holds judgements of another job: ") and "\n" not in told
    assert message.format(pairs=job.pairs, model=job.model) in told and "delete this folder" in told
    assert sorted(job.folder.iterdir()) == before


def test_what_does_not_change_the_judgements_may_change(order: Make, tmp_path: Path) -> None:
    job = order("o.jsonl")
    begin(job)
    (tmp_path / "model" / "README.md").write_text("a card, written by an evaluation")
    begun = begin(job)
    assert begun is not None and begun.tally is None, "the rows are not checked again"


def test_a_part_that_was_edited_is_refused_and_one_that_is_missing_is_judged_again(order: Make, tmp_path: Path) -> None:
    job, asked = order("o.jsonl", keep_parts=True), tmp_path / "asked"
    run(job)
    part = job.folder / "part-000002.jsonl"
    right = part.read_bytes()
    part.write_bytes(right.replace(b"Exact", b"exact") + b"\n")
    with pytest.raises(UserError, match=r"part-000002.jsonl: is damaged or was edited; delete it"):
        begin(job)
    part.unlink()
    run(job, asked)
    assert part.read_bytes() == right and len(asked.read_text().split()) == 8
    run(job, asked)
    assert len(asked.read_text().split()) == 8


def test_nothing_is_left_of_a_job_that_cannot_begin(order: Make, tmp_path: Path) -> None:
    job = order("o.jsonl", rows=0)
    with pytest.raises(UserError, match="is empty"):
        begin(job)
    job.pairs.write_text('{"query": "", "title": "x"}\n')
    with pytest.raises(NoPairs, match="no usable pair") as error:
        begin(job)
    assert error.value.tally.rejected == {"empty query": 1} and not job.folder.exists()
    job.folder.mkdir()
    (job.folder / "thesis.txt").write_text("not ours")
    with pytest.raises(UserError, match=r"holds thesis.txt, which is not a part of a job; name another --out"):
        begin(job)
    assert (job.folder / "thesis.txt").exists()


def test_ids_that_the_format_cannot_hold_are_told_before_anything_is_judged(order: Make, tmp_path: Path) -> None:
    pairs = tmp_path / "p.csv"
    pairs.write_text("query,title,product_id\nboots,Boots,a1\nlamp,Lamp,a 2\n")
    with pytest.raises(UserError, match="row 2: the product id 'a 2' has white space, which --format trec"):
        begin(order("o.txt", pairs=pairs, format="trec"))


def test_a_log_ends_before_its_first_damaged_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    assert list(log.read()) == []
    for n in range(3):
        assert log.add({"n": n, "nan": float("nan")}, sync=n == 1) == {"n": n, "nan": None}
    whole = log.path.read_bytes()
    for damage in (b'{"n": 3', b"\0\0\0\n", b"[3]\n", b'{"n": 3}\xff\n{"n": 4}\n'):
        log.path.write_bytes(whole + damage)
        assert [line["n"] for line in log.read()] == [0, 1, 2] and log.path.read_bytes() == whole


def test_a_dict_on_disk_is_a_dict(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_text("left by a killed process")
    texts = TextsOnDisk(scratch(tmp_path / "x.part"), "queries")
    texts["a"], texts["ü"], texts["a"] = "1", "", "2"
    assert dict(texts) == {"a": "2", "ü": ""} and len(texts) == 2 and texts.get("b") is None and "a" in texts
    del texts["a"]
    with pytest.raises(KeyError):
        del texts["a"]
    with pytest.raises(KeyError):
        texts["a"]
