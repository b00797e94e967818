"""The lean pass against the model's own, and which models it leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from taosr_she.engine.runner import LeanModel, WholeModel, is_lean, runner
from taosr_she.model.policy import Policy

IDS = torch.tensor([[5, 9, 3, 30, 7], [4, 6, 21, 2, 17]])
POSITIONS = torch.arange(5).expand(2, -1)
PLACES = torch.tensor([9, 2, 3])
SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": 40, "initializer_range": 0.3,
}  # fmt: skip


def causal(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)
    return out.transpose(1, 2)


def random_model(kind: str, device: torch.device | str = "cpu", **options: Any) -> Any:
    torch.manual_seed(4)
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SHAPE | options)).to(device).eval()


MODELS = {
    "qwen3": {"head_dim": 16},
    "qwen2": {},  # biases on queries, keys and values
    "llama": {"attention_bias": True, "mlp_bias": True},
    "llama scaled": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    "mistral": {"sliding_window": None},
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, device: torch.device) -> Any:
    return random_model(request.param.split()[0], device, **MODELS[request.param])


def scored(way: LeanModel | WholeModel, model: Any) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad(set_to_none=True)
    logits = way.logits(*(t.to(model.device) for t in (IDS, POSITIONS)), causal, PLACES.to(model.device))
    weights = torch.linspace(-1, 1, logits.numel(), device=model.device)
    (logits.float() * weights.view(logits.shape)).sum().backward()
    return logits.detach(), [p.grad for p in model.parameters()]


def test_equals_the_models_own_pass(model: Any) -> None:
    assert is_lean(model)
    lean, whole = scored(LeanModel(model), model), scored(WholeModel(model), model)
    assert lean[0].shape == (3, 40)
    torch.testing.assert_close(lean, whole, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        ids, positions, places = (t.to(model.device) for t in (IDS, POSITIONS, PLACES))
        logits = LeanModel(model).logits(ids, positions, causal, places)
        torch.testing.assert_close(logits, lean[0], atol=1e-5, rtol=1e-5)


def test_equals_it_in_bfloat16(model: Any) -> None:
    """Both ways differ from float32 by rounding; the lean one not by much more than the model's own."""
    exact, exact_gradients = scored(WholeModel(model), model)
    for setting in ("autocast", "weights"):
        copy = model if setting == "autocast" else model.to(torch.bfloat16)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=setting == "autocast"):
            (lean, lean_gradients), (whole, gradients) = scored(LeanModel(copy), copy), scored(WholeModel(copy), copy)
        assert lean.dtype == whole.dtype
        assert (lean - exact).norm() <= 1.5 * (whole - exact).norm() < 0.2 * exact.norm()
        for mine, theirs, right in zip(lean_gradients, gradients, exact_gradients, strict=True):
            assert mine.dtype == theirs.dtype
            assert (mine - right).norm() <= 2 * (theirs - right).norm() + 0.02 * right.norm()


def hooked(model: Any) -> None:
    model.model.layers[0].mlp.register_forward_hook(lambda _, args, out: 2 * out)


def watched_backwards(model: Any) -> None:
    model.model.layers[0].mlp.register_full_backward_pre_hook(lambda _, gradient: (2 * gradient[0],))


def adapted(model: Any) -> None:
    class Adapter(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    part = model.model.layers[1].self_attn
    part.q_proj = Adapter(part.q_proj.in_features, part.q_proj.out_features)


def replaced(model: Any) -> None:
    own = model.model.layers[0].mlp.forward
    model.model.layers[0].mlp.forward = lambda x: 2 * own(x)


def activated(model: Any) -> None:
    model.config.hidden_act = "gelu"


def windowed(model: Any) -> None:
    model.config.sliding_window = 2


def dropping(model: Any) -> None:
    model.config.attention_dropout = 0.5
    model.train()


def recomputing(model: Any) -> None:
    # Transformers before 5.23 know the old name alone.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    model.train()


def turning_partly(model: Any) -> None:
    turned = model.model.rotary_emb
    turned.inv_freq = turned.inv_freq[:2]


CHANGES = [hooked, watched_backwards, adapted, replaced, activated, windowed, dropping, recomputing, turning_partly]


def test_weights_are_rounded_once_unless_they_are_trained(model: Any) -> None:
    inputs = [t.to(model.device) for t in (IDS, POSITIONS)], PLACES.to(model.device)

    def run(way: LeanModel) -> Tensor:
        return way.logits(*inputs[0], causal, inputs[1])

    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        trained = LeanModel(model)
        with torch.inference_mode():  # here autocast itself would round them again for every token
            asked = LeanModel(model)
            torch.testing.assert_close(run(asked), run(trained))
    for product, rounded in ((trained.layers[0].down, torch.float32), (asked.layers[0].down, torch.bfloat16)):
        assert product.weight.dtype == rounded
    assert (trained.head.weight.dtype, asked.head.weight.dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_model_runs_as_it_is(change: Callable[[Any], None]) -> None:
    model = random_model("mistral", sliding_window=None)
    assert isinstance(runner(model), LeanModel)
    change(model)
    assert isinstance(runner(model), WholeModel)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_other_architectures_run_as_they_are(kind: str, make_policy: Callable[..., Policy]) -> None:
    assert isinstance(runner(make_policy(kind).model), WholeModel)
