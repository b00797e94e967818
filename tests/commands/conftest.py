"""A model folder with a domain of its own, and pairs to ask it about; the command line in this process."""

import json
from pathlib import Path
from typing import Any

import pytest

from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.policy import save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny

TINY = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600, max_positions=4096)
COLORS = ("red", "blue", "green", "grey")


@pytest.fixture(scope="session")
def own_domain() -> Domain:
    """The esci domain with another prompt: no shipped one."""
    return load_domain("esci").with_overrides({"prompt": {"instruction": "Judge.", "show_rules": False}})


@pytest.fixture(scope="session")
def model(own_domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: they answer nothing that has sections."""
    pairs = [Pair(f"p{i}", f"q{i}", f"{c} boots", Product(f"{c} boots")) for i, c in enumerate(COLORS)]
    folder = tmp_path_factory.mktemp("models") / "own"
    save_policy(build_tiny([render_prompt(own_domain, p) for p in pairs], own_domain, TINY, 1), folder)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Eight labelled pairs, and a row without a title."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"query": f"{a} boots", "title": f"{b} boots", "label": "ES"[a != b]} for a in COLORS for b in COLORS[:2]]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"query": "red boots"}]))
    return path


def strict(text: str) -> Any:
    """JSON as the standard has it: Python would read NaN and Infinity too."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)
