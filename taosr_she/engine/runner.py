"""One forward pass with another attention: a lean one if the model is built like Llama, otherwise the model's own."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from taosr_she.engine.attention import Attention, attending
from taosr_she.engine.fused import norm_rotate, rms_norm, signed, swiglu
from taosr_she.engine.logprobs import picked_logits
from taosr_she.engine.lora import Product, is_lora, is_plain_lora
from taosr_she.engine.speedups import speedups

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures with the same structure: norm, rotary attention, residual, norm, gated feed-forward, residual."""

PARTS = (nn.Linear, nn.Embedding, nn.ModuleList, nn.SiLU)
"""Modules that they may contain besides their own and plain LoRA layers (`lora`); anything else (quantised weights) is
unsupported."""

RECOMPUTES = "gradient_checkpointing"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Attributes in which a module keeps its hooks; the lean pass does not call modules, so it would skip them."""


class Runner(Protocol):
    """A causal language model that can be run with another attention."""

    def logits(self, ids: Tensor, positions: Tensor, attention: Attention, places: Tensor, cache: Any = None) -> Tensor:
        """Logits (N, V) after the tokens at `places` (N,), which index the flattened rows of `ids`, `positions` (R, n).

        Keys and values go through the `cache`, if there is one, before the `attention`.
        """


def runner(model: Any) -> Runner:
    """The runner for `model` in its current state; ask again whenever the model may have changed."""
    return LeanModel(model) if speedups().lean_pass and is_lean(model) else WholeModel(model)


class WholeModel:
    """The model's own forward pass, with only its attention replaced."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def logits(self, ids: Tensor, positions: Tensor, attention: Attention, places: Tensor, cache: Any = None) -> Tensor:
        """As Runner."""
        with attending(self.model, attention):
            return picked_logits(
                self.model, ids, places, position_ids=positions, past_key_values=cache, use_cache=cache is not None
            )


class LeanModel:
    """The same formulas with the same weights in fewer and larger operations, without calls of the layers' modules.

    Small operations take most of the time of decoding, and on a CPU a third of the update (docs/performance.md).
    """

    def __init__(self, model: Any) -> None:
        self.model, self.base = model, model.model
        self.eps: float = self.base.norm.variance_epsilon
        dtype = _product_type(self.base.embed_tokens.weight)
        self.layers = [_Layer(layer, dtype) for layer in self.base.layers]
        head = model.lm_head
        self.head = Product(head, dtype) if _plain_linear(head) else head

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
            query, key, value = (product(h).view(rows, new, -1, layer.width) for product in layer.heads)
            query, key = (
                norm_rotate(t, w, self.eps, cos, sin, value.dtype)
                for t, w in zip((query, key), layer.norm_heads, strict=True)
            )
            query, key, value = (t.transpose(1, 2) for t in (query, key, value))  # (R, H, n, D)
            if cache is not None:
                key, value = cache.update(key, value, number)
            out = attention(layer.attention, query, key, value, layer.scale)  # (R, n, H, D)
            out = out.reshape(rows * new, -1)
            if layer is self.layers[-1]:  # the rest works on each token separately
                x, out = x.index_select(0, places), out.index_select(0, places)
            x = layer.out.plus(x, out)
            h = rms_norm(x, layer.norm_between, self.eps, dtype)
            x = layer.down.plus(x, swiglu(layer.gate(h), layer.up(h)))
        logits: Tensor = self.head(rms_norm(x, self.base.norm.weight, self.eps, dtype))
        return logits


class _Layer:
    """References to a layer's parts, because looking them up in its modules takes longer than a small operation."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        part, mlp = layer.self_attn, layer.mlp
        self.attention, self.scale, self.width = part, part.scaling, part.head_dim
        self.norm_in, self.norm_between = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        # This is also the order in which their inputs are dropped, if the adapter has dropout.
        self.heads = [Product(p, dtype) for p in (part.q_proj, part.k_proj, part.v_proj)]
        self.out, self.gate, self.up, self.down = (
            Product(p, dtype) for p in (part.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        )
        self.norm_heads = (part.q_norm.weight, part.k_norm.weight) if hasattr(part, "q_norm") else (None, None)


def is_lean(model: Any) -> bool:
    """Whether LeanModel computes the same as this model in its current state: only known, unaltered modules."""
    config = model.config
    if config.model_type not in FAMILIES or config.hidden_act != "silu" or getattr(config, "sliding_window", None):
        return False
    if model.training and (config.attention_dropout or any(getattr(m, RECOMPUTES, False) for m in model.modules())):
        return False
    home = f"transformers.models.{config.model_type}.modeling_{config.model_type}"
    if type(model).__module__ != home or not hasattr(model, "lm_head"):
        return False
    ends = {model.get_input_embeddings(), model.get_output_embeddings()}  # called as they are
    inside: set[nn.Module] = set()  # of LoRA layers
    for module in model.modules():
        if module in ends:
            continue
        if is_lora(module):
            if not is_plain_lora(module):
                return False
            inside.update(module.modules())
        elif module in inside:
            pass
        elif type(module).__module__ not in (home, "transformers.activations") and type(module) not in PARTS:
            return False
        if "forward" in vars(module) or any(getattr(module, hooks) for hooks in HOOKS):
            return False
    turned: int = 2 * model.model.rotary_emb.inv_freq.numel()
    return turned == model.model.layers[0].self_attn.head_dim


def _product_type(x: Tensor) -> torch.dtype:
    """`x` in the type of its matrix products, rounded once; autocast would round it again for every product."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _plain_linear(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear and not any(getattr(layer, hooks) for hooks in HOOKS)
