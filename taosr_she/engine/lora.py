"""Low-rank adapters (LoRA, Hu et al. 2021, 2106.09685) in the lean pass: W x + scale B A x.

The layers are those of PEFT, recognised by class name: importing PEFT is slow, and a model with such layers has already
imported it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def is_lora(module: nn.Module) -> bool:
    """Whether this is a LoRA layer of PEFT in place of a linear layer."""
    kind = type(module)
    return kind.__name__ == "Linear" and kind.__module__ == "peft.tuners.lora.layer"


def is_plain_lora(module: Any) -> bool:
    """Whether it computes exactly W x + scale B A x: one adapter, no variant of LoRA, in the type of its layer."""
    if module.merged or module.lora_variant or module.fan_in_fan_out or not isinstance(module.base_layer, nn.Linear):
        return False
    active = [name for name in module.active_adapters if name in module.lora_A]
    if len(active) != 1 or module.lora_B[active[0]].bias is not None:
        return False
    return bool(module.lora_A[active[0]].weight.dtype == module.base_layer.weight.dtype)


def has_adapter(model: nn.Module) -> bool:
    """Whether the model has LoRA layers."""
    return any(is_lora(module) for module in model.modules())


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Run the model without its adapter inside the block; a model without one is unaffected."""
    layers: list[Any] = [module for module in model.modules() if is_lora(module)]
    for layer in layers:
        layer._disable_adapters = True  # PEFT's `enable_adapters` would also switch gradients on and off
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


@contextmanager
def adapter_dropout(model: nn.Module, seed: int) -> Iterator[None]:
    """Apply the adapter's own dropout inside the block, drawn only from `seed`, and no other dropout, in whatever mode
    the model is. This makes a training step reproducible."""
    layers: list[Any] = [module for module in model.modules() if is_lora(module)]
    drops = [drop for layer in layers for drop in layer.lora_dropout.values() if isinstance(drop, nn.Dropout)]
    if not drops:
        yield
        return
    modes = [drop.training for drop in drops]
    devices = [p.device for p in model.parameters() if p.is_cuda][:1]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for drop in drops:
            drop.training = True
        try:
            yield
        finally:
            for drop, mode in zip(drops, modes, strict=True):
                drop.training = mode


class Product:
    """Snapshot of a linear layer, with its adapter if it has one: the weights that the lean pass multiplies by.

    Looking up weights in modules takes longer than a small operation. Under autocast, weights are rounded here, except
    in training: autocast keeps rounded copies only of trained weights, and in inference mode of none, and would round
    the others in every call.
    """

    __slots__ = ("bias", "down", "dropout", "scale", "up", "weight")

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        """`dtype` is the type in which products are computed."""
        self.down: Tensor | None = None
        base = layer
        if is_lora(layer):
            base = layer.base_layer
            if not layer.disable_adapters:
                name = next(name for name in layer.active_adapters if name in layer.lora_A)
                down, up = layer.lora_A[name].weight, layer.lora_B[name].weight  # (rank, in), (out, rank)
                self.down, self.up = rounded(down, dtype), rounded(up, dtype)
                self.scale: float = layer.scaling[name]
                self.dropout = layer.lora_dropout[name]
        self.weight, self.bias = rounded(base.weight, dtype), base.bias  # (out, in)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return self._adapted(linear(x, self.weight, self.bias), x)

    def plus(self, x: Tensor, factor: Tensor) -> Tensor:
        """x + layer(factor), in one operation if that keeps the type of x: autocast would also round x."""
        if self.bias is not None or torch.is_autocast_enabled(x.device.type):
            return x + self(factor)
        return self._adapted(torch.addmm(x, factor, self.weight.t()), factor)

    def _adapted(self, out: Tensor, x: Tensor) -> Tensor:
        if self.down is None:
            return out
        low = linear(self.dropout(x), self.down)
        if torch.is_autocast_enabled(x.device.type):
            return out + linear(low, self.up) * self.scale
        return torch.addmm(out, low, self.up.t(), alpha=self.scale)


def rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in `dtype`, or as it is if it is being trained."""
    return weight if weight.requires_grad and torch.is_grad_enabled() else weight.to(dtype)
