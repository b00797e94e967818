"""`taosr-she evaluate`: what it rejects is said, what it writes is JSON, what is wrong is said before the work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]


def test_it_says_what_it_rejects_and_writes_json(model: Path, pairs: Path, tmp_path: Path, cli: Cli) -> None:
    with pairs.open("a") as file:
        file.write('{"query": "red boots", "title": "hat"}\n{"query": "red boots", "title": "cap", "label": "9"}\n')
    out = tmp_path / "evaluation"
    code, said, _ = cli("evaluate", model, pairs, "--out", out, "--max-new-tokens", 4)
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert f"{pairs}: 8 of 11 rows are usable" in lines
    assert {"1 missing title", "1 missing label", "1 unknown label"} <= set(lines)
    assert f"rejected rows with reasons: {out / 'quarantine.jsonl'}" in lines
    assert len((out / "quarantine.jsonl").read_text().splitlines()) == 3
    assert any(line.startswith("warning: 8 of 8 responses (100%) are malformed") for line in lines)
    for text in [(out / "results.json").read_text(), *(out / "predictions.jsonl").read_text().splitlines()]:
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs.jsonl", "--out", "pairs.jsonl"], "--out pairs.jsonl: is a file; name a folder"),
        (["results.json", "--out", "."], "--out results.json: is the input"),
        (["pairs.jsonl", "--annotations", "no.jsonl"], "annotations no.jsonl: no such file"),
        (["pairs.jsonl", "--max-new-tokens", "-1"], "'--max-new-tokens'"),
        (["bare.jsonl"], "bare.jsonl: no usable labelled pair"),
        (["pairs.jsonl", "--domain", "wands"], "--domain wands differs"),
    ],
)
def test_a_mistake_is_one_line_before_the_model_is_loaded(
    arguments: list[str], message: str, model: Path, pairs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taosr_she.model.policy.load_policy", lambda *_: pytest.fail("the model was loaded"))
    monkeypatch.chdir(pairs.parent)
    Path("results.json").write_text(pairs.read_text())
    Path("bare.jsonl").write_text('{"query": "boots", "title": "boots", "label": ""}\n')
    code, _, error = cli("evaluate", model, *arguments)
    assert code == 2, error
    (line,) = error.strip().splitlines()
    assert line.startswith("taosr-she: ") and message in line


def test_ctrl_c_is_one_line(
    model: Path, pairs: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taosr_she.judge.pairs.judge_pairs", pressed)
    code, _, error = cli("evaluate", model, pairs, "--out", tmp_path / "e")
    assert code == 130
    (line,) = error.splitlines()
    assert line == (
        "taosr-she: stopped; 0 of 8 pairs were judged, but nothing is kept; run the same command again to start over"
    )
