"""Replaces the attention of a Hugging Face model for one call. This is how prompts are shared."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

Attention = Callable[[torch.nn.Module, Tensor, Tensor, Tensor, float], Tensor]
"""(the layer's module, queries (R, H, n, D), keys and values (R, H_kv, m, D), scale) -> (R, n, H, D)."""

NAME = "taosr_she"
FOREIGN = ("softcap", "s_aux", "sliding_window", "position_bias")
"""Options of an attention layer that change what it computes; ours supports none of them."""

log = logging.getLogger(__name__)
_current: ContextVar[Attention] = ContextVar("attention")


class Unsupported(Exception):
    """This model's attention has a feature that ours does not support; the message names it."""


@contextmanager
def attending(model: Any, attention: Attention) -> Iterator[None]:
    """In this context, every attention layer of `model` calls `attention` and gets no mask from the model's own code.

    The forward pass raises Unsupported if a layer needs more than plain attention.
    """
    before = model.config._attn_implementation
    token = _current.set(attention)
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        _current.reset(token)


@cache
def inputs(forward: Callable[..., Any]) -> frozenset[str]:
    """Names of the arguments that a model's forward pass takes."""
    return frozenset(inspect.signature(forward).parameters)


def obstacle(model: Any) -> str | None:
    """Why attention cannot be replaced in this model; None if there is no reason known before trying."""
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    if "position_ids" not in inputs(type(model).forward):
        return "it has no argument for positions"
    if model.config.get_text_config() is not model.config:
        return "it is not a text-only model"
    kinds = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}
    return f"it has layers of the kind {min(kinds)}" if kinds else None


@cache
def say_once(model_name: str, reason: str) -> None:
    """Log that a model is run without shared prompts."""
    log.warning("%s runs without shared prompts: %s", model_name, reason)


def _dispatch(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    foreign = [name for name in FOREIGN if options.get(name) is not None]
    if foreign or options.get("dropout"):
        raise Unsupported(f"its attention has {foreign[0] if foreign else 'dropout'}")
    if query.shape[-1] != value.shape[-1]:  # latent attention (DeepSeek); ours and torch's kernels ask for one width
        raise Unsupported("its value heads are not as wide as its key heads")
    scale = options.get("scaling")
    return _current.get()(module, query, key, value, query.shape[-1] ** -0.5 if scale is None else scale), None


AttentionInterface.register(NAME, _dispatch)
