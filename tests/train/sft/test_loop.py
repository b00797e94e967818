"""SFT on our own pass: a batch against plain transformers, batches against one another, a training against TRL's."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from taosr_she.model.example import IGNORE, Example, answer
from taosr_she.model.policy import Policy
from taosr_she.train.sft.loop import backward, labelled_tokens, learning_rate
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft


def examples(n: int = 12) -> list[Example]:
    """Prompts of which some begin alike, responses of unequal lengths; one that learns here and there, one nothing."""
    rng = random.Random(4)
    found = []
    for i in range(n):
        prompt = [5, 9, 3, 11, 7, 2, 8][: 7 * (i % 2)] + [rng.randrange(2, 40) for _ in range(rng.randint(1, 9))]
        found.append(answer(prompt, [rng.randrange(2, 40) for _ in range(rng.randint(1, 6))] + [0]))
    return [*found, Example([2, 3, 4, 5], [6, IGNORE, 7, IGNORE]), Example([3], [3])]


def plain_loss(model: torch.nn.Module, batch: list[Example]) -> torch.Tensor:
    """Padded on the right, labels of -100 on what is not learnt: as anybody would do it."""
    width = max(len(e.ids) for e in batch)
    ids = torch.tensor([e.ids + [1] * (width - len(e.ids)) for e in batch])
    labels = torch.tensor([e.labels + [IGNORE] * (width - len(e.ids)) for e in batch])
    seen = torch.tensor([[1] * len(e.ids) + [0] * (width - len(e.ids)) for e in batch])
    loss: torch.Tensor = model(input_ids=ids, attention_mask=seen, labels=labels).loss
    return loss


@pytest.mark.parametrize("size", [14, 5])
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2"])
def test_loss_and_gradients_are_those_of_a_padded_forward(
    architecture: str, size: int, make_policy: Callable[..., Policy]
) -> None:
    """Whether in one batch or in several: the mean runs over the tokens of all."""
    model, chosen = make_policy(architecture).model, examples()
    batches = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    found = backward(model, batches, "float32", labelled_tokens(chosen))
    ours = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    expected = plain_loss(model, chosen)
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(ours, [p.grad for p in model.parameters()], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("size", [14, 5])
def test_weights_of_tokens_weigh_their_part_of_the_mean(size: int, make_policy: Callable[..., Policy]) -> None:
    """The formula, token by token: the sum of w * -log p over all taught tokens, divided by the sum of w. Examples
    without weights count 1 a token."""
    model, draws = make_policy("qwen3").model, random.Random(2)
    chosen = [e if n % 3 == 0 else e._replace(weights=[draws.choice([0.5, 1.0, 8.0]) for _ in e.ids])
              for n, e in enumerate(examples())]  # fmt: skip
    total = torch.tensor(0.0)
    count = 0.0
    for e in chosen:
        logp = model(input_ids=torch.tensor([e.ids])).logits[0].log_softmax(-1)
        for i, token in enumerate(e.labels):
            if i and token != IGNORE:
                weight = 1.0 if e.weights is None else e.weights[i]
                total, count = total - weight * logp[i - 1, token], count + weight
    (total / count).backward()  # type: ignore[no-untyped-call]
    expected = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    assert labelled_tokens(chosen) == pytest.approx(count)
    batches = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    assert backward(model, batches, "float32", count) == pytest.approx((total / count).item(), rel=1e-6)
    torch.testing.assert_close([p.grad for p in model.parameters()], expected, atol=2e-6, rtol=1e-4)


def test_other_weights_are_another_training(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    """Finished with one weight, it trains again with another."""
    settings, losses = SFTSettings(epochs=1, batch_size=4, learning_rate=1e-3), []
    for weight in (None, 4.0, 4.0):
        weighed = [
            e if weight is None else e._replace(weights=[weight] * 3 + [1.0] * (len(e.ids) - 3)) for e in examples()
        ]
        train_sft(make_policy("llama"), weighed, settings, 1, tmp_path)
        losses.append((tmp_path / "metrics.jsonl").read_text())
    assert losses[0] != losses[1] and losses[1] == losses[2]


def test_bfloat16_stays_near_float32(make_policy: Callable[..., Policy]) -> None:
    model, chosen = make_policy("llama").model, examples()
    losses, gradients = [], []
    for precision in ("float32", "bfloat16"):
        losses.append(backward(model, [chosen], precision, labelled_tokens(chosen)))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        model.zero_grad(set_to_none=True)
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[1] != losses[0]
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()


def test_a_batch_without_labels_changes_nothing(make_policy: Callable[..., Policy]) -> None:
    model = make_policy("llama").model
    assert labelled_tokens(examples()[-1:]) == 0 and backward(model, [examples()[-1:]], "float32", 0) == 0.0
    assert all(p.grad is None for p in model.parameters())


def test_training_is_trls(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    """The same steps: batches, clipping, decay of the weights that decay, AdamW. The schedules differ by a step."""
    shared = {"epochs": 3, "batch_size": 4, "accumulate": 2, "learning_rate": 3e-3, "weight_decay": 0.3}
    shared |= {"grad_clip": 0.2, "lr_schedule": "constant", "warmup_share": 0.0}
    trained, losses = {}, {}
    for engine in ("own", "trl"):
        settings = SFTSettings(engine=engine, **shared)
        trained[engine] = train_sft(make_policy("llama"), examples()[:-1], settings, 1, tmp_path / engine).model
        rows = (tmp_path / engine / "metrics.jsonl").read_text().splitlines()
        losses[engine] = [json.loads(row)["loss"] for row in rows]
    assert losses["own"] == pytest.approx(losses["trl"], rel=1e-4) and len(losses["own"]) == 5
    start = make_policy("llama").model
    for mine, theirs, before in zip(*(m.parameters() for m in (*trained.values(), start)), strict=True):
        moved = (theirs - before).norm()
        assert moved > 0 and (mine - theirs).norm() < 0.01 * moved


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.0669873), ("linear", 1 / 6), ("constant", 1.0)])
def test_learning_rate(schedule: str, last: float) -> None:
    settings = SFTSettings(learning_rate=2.0, warmup_share=0.25, lr_schedule=schedule)
    rates = [learning_rate(settings, step, 8) / 2 for step in range(8)]
    assert rates[:3] == [0.5, 1.0, 1.0] and rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(last)
    assert learning_rate(settings, 0, 1) == 2.0
