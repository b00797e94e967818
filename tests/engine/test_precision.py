"""bfloat16 on a CPU: chosen by processor and size; sampler and trainer agree within rounding."""

from pathlib import Path

import pytest
import torch

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engine import precision
from taosr_she.engine.precision import WORTH, computing, count_weights, in_bfloat16, multiplies_bfloat16
from taosr_she.engine.shared_prefix import shared_logprobs
from taosr_she.model.policy import Policy, load_policy
from taosr_she.model.sampler import Sampling, sample_groups
from taosr_she.model.tiny import TinyConfig, build_tiny

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=[True, False], ids=["multiplies", "does not"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: request.param)
    found: bool = request.param
    return found


def test_auto_asks_for_device_size_and_processor(native: bool) -> None:
    assert not in_bfloat16(CPU, WORTH - 1)
    assert in_bfloat16(CPU, WORTH) == native
    assert in_bfloat16(CUDA, 1) and not in_bfloat16(torch.device("mps"), 1e9)
    assert in_bfloat16(CPU, 1, "bfloat16") and not in_bfloat16(CUDA, 1e9, "float32")


def test_the_tiny_model_stays_in_float32(native: bool, texts: list[str], domain: Domain) -> None:
    default = build_tiny(texts, domain, TinyConfig(), 1).model
    assert count_weights(default) < WORTH / 3
    with computing(default):
        assert not torch.is_autocast_enabled("cpu")
    with computing(default, "bfloat16"):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def test_what_is_loaded_to_answer_is_in_bfloat16_where_that_is_faster(
    native: bool, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = count_weights(load_policy(saved, "cpu", "float32").model)
    monkeypatch.setattr("taosr_she.model.loading.in_bfloat16", precision.in_bfloat16)
    for worth, expected in ((size, torch.bfloat16 if native else torch.float32), (size + 1, torch.float32)):
        monkeypatch.setattr(precision, "WORTH", worth)
        assert load_policy(saved, "cpu").model.dtype == expected
    assert load_policy(saved, "cpu", "bfloat16").model.dtype == torch.bfloat16


@pytest.mark.parametrize("flags", ["fpu avx512_bf16 sse", "fpu amx_bf16", "fpu avx512f", ""])
@pytest.mark.parametrize("torch_tells", [True, False])
def test_the_processor_is_asked(flags: str, torch_tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch_tells:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(flags.split(), True), raising=False)
    else:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(precision, "Path", lambda name: tmp_path / "cpuinfo")
    assert multiplies_bfloat16.__wrapped__() == ("bf16" in flags)


@pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor has no bfloat16 instructions")
def test_the_first_ratio_is_1_within_rounding(tiny: Policy, domain: Domain, pair: Pair) -> None:
    """Of every token: 1 within 0.1, and within 0.01 on average. No worse than what rounding does to the trainer."""
    prompts = [tiny.encode_prompt(domain, pair)[:length] for length in (200, 20)]
    for p in tiny.model.parameters():  # as wide as trained weights: the fixture's draw from nearly flat distributions
        p.data *= 1.5 if p.dim() == 2 else 1
    with computing(tiny.model, "bfloat16"):
        rollouts = sample_groups(tiny, prompts, 16, Sampling(max_new_tokens=24), seed=1)
        with torch.no_grad():
            logp, _ = shared_logprobs(tiny.model, prompts, rollouts.group, rollouts.ids, rollouts.mask)
    with torch.no_grad():
        exact, _ = shared_logprobs(tiny.model, prompts, rollouts.group, rollouts.ids, rollouts.mask)
    gap, rounding = ((logp - other)[rollouts.mask] for other in (rollouts.logprobs, exact))
    assert 0 < gap.abs().mean() < 0.01
    assert (gap.exp() - 1).abs().max() < 0.1
    assert gap.norm() < 2 * rounding.norm()
