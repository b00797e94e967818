import json
from pathlib import Path

import torch

from taosr_she.train.state import MetricsFile, load_state, save_state


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
