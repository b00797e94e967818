"""A file of marked queries."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

KINDS = {"mug": "core_product_type", "shirt": "core_product_type", "red": "color", "blue": "color", "nike": "creator"}


def row(key: str, query: str, tags: list[str], **people: list[str]) -> dict[str, Any]:
    names = {"annotators": {name[1:]: said for name, said in people.items()}} if people else {}
    return {"query_key": key, "query": query, "tokens": query.split(), "tags": tags, **names}


@pytest.fixture
def marked_file(tmp_path: Path) -> Path:
    """Forty queries of one person, and three that three people marked: they agree, two agree, none agree."""
    rows = []
    for n, (color, kind) in enumerate([(c, k) for c in ("red", "blue") for k in ("mug", "shirt")] * 10):
        words = [color, kind] if n % 2 else ["nike", color, kind]
        rows.append(row(f"q{n}", f"{' '.join(words)}{'' if n < 4 else f' {n}'}", [f"B-{KINDS[w]}" for w in words]))
        if n >= 4:
            rows[-1]["tags"].append("O")
    type_, brand, color, other = "B-core_product_type", "B-creator", "B-color", "B-modifier"
    rows += [
        row("t1", "adidas shoe", [brand, type_], p1=[brand, type_], p2=[brand, type_], p3=[brand, type_]),
        row("t2", "camo shoe", [color, type_], p1=[color, type_], p2=[other, type_], p3=[color, type_]),
        row("t3", "zara shoe", [brand, type_], p1=[brand, type_], p2=[other, type_], p3=[type_, "I-core_product_type"]),
        row("t4", "odd shoe", [other, type_], p1=[other, type_], p2=["B-obscure", type_], p3=["B-obscure", type_]),
    ]
    path = tmp_path / "queries.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path
