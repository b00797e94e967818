"""What is done to a model before it is served."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_models import domain, pair, saved, small, texts, tiny  # noqa: F401

from taosr_she import load_judge
from taosr_she.base.errors import UserError
from taosr_she.engine.kept import kept_prefix
from taosr_she.serve.loading import load
from taosr_she.serve.settings import ServeSettings


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A domain whose prompt fits into the small model."""
    file = tmp_path / "short.yaml"
    file.write_text("base: taobao\nprompt: {show_rules: false, show_format: false}\n")
    return file


def test_the_rules_are_kept_and_change_no_answer(saved: Path, short: Path) -> None:  # noqa: F811
    served = load(
        ServeSettings(model=str(saved), domain=str(short), force_domain=True, device="cpu", max_new_tokens=12)
    )
    alone = load_judge(saved, "cpu", domain=str(short), force_domain=True, max_new_tokens=12)
    rows = [
        {"query": q, "title": t} for q in ("red boots", "a tent, 2 m") for t in ("red boots", "x", "[label] 4", "1")
    ]
    pairs = [served._read(row) for row in rows]
    prompts = [served.policy.encode_prompt(served.domain, p) for p in pairs]  # type: ignore[arg-type]
    kept = kept_prefix(served.policy.model, prompts)
    assert kept is not None and len(kept.ids) > 100
    for ours, theirs in zip(served(rows), alone(rows), strict=True):
        assert ours.response == theirs.response != "" and ours.reason == theirs.reason


def test_weights_do_not_stay_in_their_file(saved: Path, short: Path) -> None:  # noqa: F811
    served = load(ServeSettings(model=str(saved), domain=str(short), force_domain=True, device="cpu"))
    before = {name: weight.clone() for name, weight in served.policy.model.named_parameters()}
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(0)
    assert all(torch.equal(before[name], weight) for name, weight in served.policy.model.named_parameters())


def test_a_model_that_has_diverged_is_refused(saved: Path, short: Path, tmp_path: Path) -> None:  # noqa: F811
    broken = tmp_path / "broken"
    shutil.copytree(saved, broken)
    weights = {
        name: torch.full_like(weight, torch.nan) for name, weight in load_file(broken / "model.safetensors").items()
    }
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="diverged"):
        load(ServeSettings(model=str(broken), domain=str(short), force_domain=True, device="cpu"))


def test_a_model_without_room_for_the_rules_is_refused(saved: Path) -> None:  # noqa: F811
    with pytest.raises(UserError, match="not even a short pair has room; prompt too long"):
        load(ServeSettings(model=str(saved), domain="taobao", device="cpu"))
