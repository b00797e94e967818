"""A bulk job over a small file, cut into small parts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_bulk import BATCH, DOMAIN, write_rows

from taosr_she.judge.bulk.run import Order


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of eight pairs in batches of four."""
    monkeypatch.setattr("taosr_she.judge.bulk.run.PART_PAIRS", {"cpu": BATCH})
    monkeypatch.setattr("taosr_she.judge.bulk.run.BATCHES", 2)


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., Order]:
    """`order(name, rows=37, **options)`: a job on a new file of that many rows, of which every tenth has no title."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")

    def make(out: str, rows: int = 37, pairs: Path | None = None, **options: object) -> Order:
        if pairs is None:
            pairs = tmp_path / "pairs.jsonl"
            write_rows(pairs, range(rows))
        settings = {"device": "cpu", "quarantine": tmp_path / f"{out}.quarantine.jsonl"} | options
        return Order(pairs, tmp_path / out, model=str(tmp_path / "model"), domain=DOMAIN, **settings)

    return make
