import json
import pickle
from pathlib import Path

import pytest
import torch

from taosr_she.train.state import MetricsFile, as_read, load_state, rows_lead_to, save_state, saved_updates


def make() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def train(model: torch.nn.Linear, optimizer: torch.optim.Optimizer, start: int, end: int) -> None:
    for step in range(start, end):
        model(torch.full((1, 3), float(step))).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_resumed_training_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, optimizer = make()
    train(whole, optimizer, 0, 6)
    first, optimizer = make()
    train(first, optimizer, 0, 3)
    save_state(tmp_path, 3, first, optimizer)
    second, optimizer = make()
    assert load_state(tmp_path, second, optimizer) == 3
    train(second, optimizer, 3, 6)
    assert torch.equal(whole.weight, second.weight)


def test_no_state_means_start(tmp_path: Path) -> None:
    model, optimizer = make()
    assert load_state(tmp_path, model, optimizer) == 0


def test_metrics_drop_rows_after_the_state_and_a_broken_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "tokens": 10}\n{"step": 2, "tokens": 20}\n{"step": 3, "tok')
    metrics = MetricsFile(path, finished=2)
    assert metrics.last == {"step": 2, "tokens": 20}
    metrics.write({"step": 3, "tokens": 31})
    metrics.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert MetricsFile(path, finished=1).last == {"step": 1, "tokens": 10}


def damaged_states(folder: Path) -> dict[str, bytes]:
    """Kind of damage -> content of state.pt; `folder` gets a whole one."""
    model, optimizer = make()
    train(model, optimizer, 0, 2)
    save_state(folder, 2, model, optimizer)
    whole = (folder / "state.pt").read_bytes()
    torch.save({"update": 2}, folder / "lacks.pt")
    torch.save([1, 2], folder / "list.pt")
    save_state(folder / "other", 2, torch.nn.Linear(3, 4), optimizer)
    bent = bytearray(whole)
    bent[whole.index(model.weight.detach().numpy().tobytes()) + 3] ^= 1
    lacks, other = (folder / "lacks.pt").read_bytes(), (folder / "other/state.pt").read_bytes()
    return {
        "empty": b"", "cut short": whole[: len(whole) // 2], "garbage": b"garbage" * 99, "one bit": bytes(bent),
        "keys missing": lacks, "a list": (folder / "list.pt").read_bytes(), "another model": other,
        "a pickle": pickle.dumps({"update": 2}),
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["empty", "cut short", "garbage", "one bit", "keys missing", "a list", "another model", "a pickle"]
)
def test_a_damaged_state_counts_as_not_there_and_changes_nothing(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = damaged_states(tmp_path)[kind]
    model, optimizer = make()
    before = model.weight.detach().clone()
    assert saved_updates(tmp_path) == 2
    (tmp_path / "state.pt").write_bytes(content)
    assert load_state(tmp_path, model, optimizer) == 0
    assert torch.equal(model.weight, before) and not optimizer.state
    assert "state.pt: " in caplog.text and "starts again" in caplog.text
    assert saved_updates(tmp_path) in (0, 2)  # does not look into the weights, and does not fall


@pytest.mark.parametrize(
    "line", ["", "7", "[1]", '{"loss": 1}', '{"step": "2"}', '{"step": 1}', "\0\0\0", "{" * 100_000]
)
def test_metrics_end_before_a_line_that_is_no_row(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n{{"step": 3}}\n')
    assert not rows_lead_to(path, 3) and rows_lead_to(path, 1)
    assert [row["step"] for row in MetricsFile(path, 3).kept] == [1]
    path.write_bytes(b"\xff\xfe\x00")
    assert MetricsFile(path, 3).kept == [] and rows_lead_to(path, 0)


def test_undefined_metrics_are_null_in_the_file_and_in_memory(tmp_path: Path) -> None:
    row = as_read({"step": 1, "entropy": float("nan")})
    assert row == {"step": 1, "entropy": None}
    metrics = MetricsFile(tmp_path / "m.jsonl", 0)
    metrics.write({"step": 1, "entropy": float("nan")})
    metrics.close()
    assert (tmp_path / "m.jsonl").read_text() == '{"step": 1, "entropy": null}\n'
