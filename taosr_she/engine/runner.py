"""One forward pass with another attention inside: lean where the model is built like Llama, else the model's own."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from taosr_she.engine.attention import Attention, attending
from taosr_she.engine.fused import norm_rotate, rms_norm, signed, swiglu
from taosr_she.engine.logprobs import picked_logits
from taosr_she.engine.speedups import speedups

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures of one build: norm, attention with rotary positions, residual, norm, gated feed-forward, residual."""

PARTS = (nn.Linear, nn.Embedding, nn.ModuleList, nn.SiLU)
"""What they may be put together from beside their own modules; anything else (LoRA, quantised weights) is unknown."""

RECOMPUTES = "gradient_checkpointing"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps what is to be called beside it; the lean pass does not call the modules."""


class Runner(Protocol):
    """A causal language model that may be run with another attention."""

    def logits(self, ids: Tensor, positions: Tensor, attention: Attention, places: Tensor, cache: Any = None) -> Tensor:
        """Logits (N, V) after the tokens at `places` (N,), counted through the rows of `ids` and `positions` (R, n).

        Keys and values go through the `cache`, if there is one, before they meet the `attention`.
        """


def runner(model: Any) -> Runner:
    """How to run `model` now: asked again whenever it may have been changed."""
    return LeanModel(model) if speedups().lean_pass and is_lean(model) else WholeModel(model)


class WholeModel:
    """The model's own forward pass, only its attention exchanged."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def logits(self, ids: Tensor, positions: Tensor, attention: Attention, places: Tensor, cache: Any = None) -> Tensor:
        """As Runner."""
        with attending(self.model, attention):
            return picked_logits(
                self.model, ids, places, position_ids=positions, past_key_values=cache, use_cache=cache is not None
            )


class LeanModel:
    """The same formulas from the same weights in fewer and larger operations: no calls of the layers' modules.

    Small operations are what decoding spends its time on, and on a CPU a third of the update (docs/performance.md).
    """

    def __init__(self, model: Any) -> None:
        self.model, self.base = model, model.model
        self.eps: float = self.base.norm.variance_epsilon
        self.layers = [_Layer(layer) for layer in self.base.layers]

    def logits(self, ids: Tensor, positions: Tensor, attention: Attention, places: Tensor, cache: Any = None) -> Tensor:
        """As Runner."""
        rows, new = ids.shape
        x = self.base.embed_tokens(ids)
        cos, sin = (t.unsqueeze(2) for t in self.base.rotary_emb(x, positions))  # (R, n, 1, D)
        sin = signed(sin)
        x = x.flatten(0, 1)  # (R * n, hidden)
        dtype = _product_type(x)
        for number, layer in enumerate(self.layers):
            h = rms_norm(x, layer.norm_in, self.eps, dtype)
            query, key, value = (_product(h, p).view(rows, new, -1, layer.width) for p in layer.heads)
            query, key = (
                norm_rotate(t, w, self.eps, cos, sin, value.dtype)
                for t, w in zip((query, key), layer.norm_heads, strict=True)
            )
            query, key, value = (t.transpose(1, 2) for t in (query, key, value))  # (R, H, n, D)
            if cache is not None:
                key, value = cache.update(key, value, number)
            out = attention(layer.attention, query, key, value, layer.scale)  # (R, n, H, D)
            out = out.reshape(rows * new, -1)
            if layer is self.layers[-1]:  # what follows concerns each token alone
                x, out = x.index_select(0, places), out.index_select(0, places)
            x = _plus_product(x, out, layer.out)
            h = rms_norm(x, layer.norm_between, self.eps, dtype)
            x = _plus_product(x, swiglu(_product(h, layer.gate), _product(h, layer.up)), layer.down)
        logits: Tensor = self.model.lm_head(rms_norm(x, self.base.norm.weight, self.eps, dtype))
        return logits


class _Layer:
    """Where a layer's parts are: looking them up in its modules takes longer than a small operation."""

    def __init__(self, layer: Any) -> None:
        part, mlp = layer.self_attn, layer.mlp
        self.attention, self.scale, self.width = part, part.scaling, part.head_dim
        self.norm_in, self.norm_between = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self.heads, self.out = (part.q_proj, part.k_proj, part.v_proj), part.o_proj
        self.gate, self.up, self.down = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.norm_heads = (part.q_norm.weight, part.k_norm.weight) if hasattr(part, "q_norm") else (None, None)


def is_lean(model: Any) -> bool:
    """Whether LeanModel computes what this model computes, as it is now: known modules alone, none of them altered."""
    config = model.config
    if config.model_type not in FAMILIES or config.hidden_act != "silu" or getattr(config, "sliding_window", None):
        return False
    if model.training and (config.attention_dropout or any(getattr(m, RECOMPUTES, False) for m in model.modules())):
        return False
    home = f"transformers.models.{config.model_type}.modeling_{config.model_type}"
    if type(model).__module__ != home or not hasattr(model, "lm_head"):
        return False
    ends = {model.get_input_embeddings(), model.get_output_embeddings()}  # called as they are
    for module in model.modules():
        if module in ends:
            continue
        if type(module).__module__ not in (home, "transformers.activations") and type(module) not in PARTS:
            return False
        if "forward" in vars(module) or any(getattr(module, hooks) for hooks in HOOKS):
            return False
    turned: int = 2 * model.model.rotary_emb.inv_freq.numel()
    return turned == model.model.layers[0].self_attn.head_dim


def _product_type(x: Tensor) -> torch.dtype:
    """What products of `x` are computed in. Rounded once where autocast would round for every product anew."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _product(x: Tensor, layer: nn.Linear) -> Tensor:
    return linear(x, layer.weight, layer.bias)


def _plus_product(x: Tensor, factor: Tensor, layer: nn.Linear) -> Tensor:
    """x + layer(factor), at once where that keeps the type of x: autocast would round x too."""
    if layer.bias is not None or torch.is_autocast_enabled(x.device.type):
        return x + _product(factor, layer)
    return torch.addmm(x, factor, layer.weight.t())
