"""`taosr-she select` as its users meet it."""

import json
import re
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from taosr_she.cli import main
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.policy import save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["taosr-she", "select", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    sizes = MarketConfig(training_pairs=40, demonstration_pairs=0, development_pairs=0, test_pairs=0)
    market = generate_market(sizes, 1)
    write_pairs(tmp_path / "pairs.jsonl", market.pairs["training"])
    write_annotations(tmp_path / "said.jsonl", market.annotations)
    return tmp_path / "pairs.jsonl"


def test_without_a_model_texts_alone_choose(
    pairs_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = pairs_file.parent / "out"
    assert (
        call(
            monkeypatch, str(pairs_file), "--out", str(out), "diversity.budget=15", "diversity.method=facility_location"
        )
        == 0
    )
    assert "40 pairs, 15 stay" in " ".join(capsys.readouterr().out.split())
    kept = [p.pair_id for p in read_pairs(out / "selected.jsonl")]
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert len(kept) == 15 and sorted(kept + [d["pair_id"] for d in dropped]) == sorted(
        p.pair_id for p in read_pairs(pairs_file)
    )
    report = json.loads((out / "selection.json").read_text())
    assert sum(report["dropped"].values()) == 25 and all(report["examples"][reason] for reason in report["dropped"])
    text = (out / "selection.md").read_text()
    assert "15 of 40 pairs stay" in text and "pass rate" not in text.lower()  # nothing is known of it


def test_with_a_model_its_rollouts_say_how_hard_a_pair_is(
    pairs_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    domain, out = load_domain("taobao"), pairs_file.parent / "out"
    texts = [render_prompt(domain, p) for p in read_pairs(pairs_file)]
    tiny = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600, max_positions=4096)
    save_policy(build_tiny(texts, domain, tiny, 1), pairs_file.parent / "model")
    arguments = [
        str(pairs_file), "--out", str(out), "--model", str(pairs_file.parent / "model"), "--annotations",
        str(pairs_file.parent / "said.jsonl"), "difficulty.rollouts=2", "difficulty.sampling.max_new_tokens=8",
    ]  # fmt: skip
    assert call(monkeypatch, *arguments) == 0
    said = capsys.readouterr().out
    assert "sampling: 1/1" in said and "warning: 80 of 80 responses (100%) are malformed" in said
    assert call(monkeypatch, *arguments, "--domain", "esci") == 2
    assert "--domain esci differs" in capsys.readouterr().err
    report = json.loads((out / "selection.json").read_text())
    assert report["dropped"] == {"too hard": 40}  # random weights write nothing that has a label
    assert report["pass_rate"]["0"] == [40, 0] and (out / "rollouts" / "part-00000.parquet").is_file()
    assert "Pass rates" in (out / "selection.md").read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("diversity.bugdet=3", "diversity.bugdet: unknown key"),
        ("difficulty.pass_low=2", "difficulty.pass_low: Input should be less than or equal to 1"),
        ("budget", "expected key=value"),
        ("diversity.method=best", "diversity.method"),
        ("diversity.budget=[", "not valid YAML"),
        ("diversity.budget=1.5", "neither a share up to 1 nor a whole number"),
        ("diversity.tag_quota={tial: 0.1}", "no pair has 'tial'; there are "),
        ("difficulty.pass_low=0.2", "give --model"),
        ("--annotations=said.jsonl", "it needs --model"),
    ],
)
def test_a_wrong_option_is_one_line(
    override: str, message: str, pairs_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, str(pairs_file), "--out", str(pairs_file.parent / "out"), override) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_a_file_in_the_place_of_the_folder_is_one_line(
    pairs_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, str(pairs_file), "--out", str(pairs_file)) == 2
    assert "is a file; name a folder" in capsys.readouterr().err


def test_what_pairs_say_is_text_in_selection_md_and_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Queries, titles, ids and tags are data: no HTML, no table, no link, no colour comes out of them."""
    hostile = '<img src=x onerror="alert(1)"> | [a](http://evil) **b** `c` \x1b[31m [red]x[/red]'
    rows = [
        Pair(f"{i} `</code><script>`", f"{hostile} {i}", f"{hostile} {i}", Product(f"{hostile} title"), label="4")
        for i in range(6)
    ]
    path, out = tmp_path / "[red]pairs.jsonl", tmp_path / "[link=x]out"
    write_pairs(path, rows)
    assert call(monkeypatch, str(path), "--out", str(out), "diversity.budget=2", "diversity.near_duplicate=0.5") == 0
    shown = "".join(capsys.readouterr().out.split())  # lines may be broken anywhere in a long path
    assert "[red]pairs.jsonl:6pairs" in shown and "[link=x]out" in shown and "\x1b" not in shown
    text = (out / "selection.md").read_text("utf-8")
    assert "\x1b" not in text and r"\x1b" in text
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    assert "&lt;img src=x" in rendered and "[a](http://evil) **b**" in rendered
    assert not re.findall(r"<(?!/?(?:h1|h2|p|table|thead|tbody|tr|th|td|ul|li|em|code)\b)[^>]*>", rendered)
