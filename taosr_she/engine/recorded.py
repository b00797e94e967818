"""Decoding on a GPU as a recorded step: one launch per token instead of one for every operation of every layer.

A GPU runs the small operations of a decoding step faster than Python can launch them (docs/performance.md). A CUDA
graph is launched once. It needs fixed shapes and addresses. So keys and values are written at a position given by a
counter on the device, and attention covers the whole cache: flash attention reads from that counter how much is written
(engine/flash_step.py); products have a mask over positions that are not written yet. What remains is one small kernel
after another, so the formulas between products are compiled, which makes the kernels fewer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taosr_she.engine.cache import RoomyLayer, by_token
from taosr_she.engine.compiled import compiling
from taosr_she.engine.decode import SharedPrompts
from taosr_she.engine.flash_parts import has_kernel
from taosr_she.engine.flash_step import FlashStep
from taosr_she.engine.runner import is_lean
from taosr_she.engine.speedups import speedups

WORTH = 8
"""Minimum number of tokens for which recording is worthwhile. A guess: recording runs the step's Python once more."""

ROOM = 2 << 30
"""Bytes that must be free before recording; a step of Qwen3-0.6B with 128 rows needed less than half a GiB."""

FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose angles do not depend on the longest position so far, which Python would have to read."""


def recordable(model: Any, steps: int) -> bool:
    """Whether `steps` tokens of this model should be decoded by RecordedPrompts."""
    if not speedups().recorded_steps or model.device.type != "cuda" or steps < WORTH or not is_lean(model):
        return False
    return getattr(model.model.rotary_emb, "rope_type", "default") in FIXED_ROTATIONS


class RecordedPrompts(SharedPrompts):
    """SharedPrompts whose step for one token is recorded as a CUDA graph; on a CPU the same step runs unrecorded."""

    compact_share = 2
    """A step takes nearly as long for half the rows, and every new number of rows must be recorded again."""
    copies = False
    flash: FlashStep | None = None
    """Its attention, where there is a kernel for it."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], group: Tensor, steps: int) -> None:
        """As SharedPrompts."""
        super().__init__(model, prompts, group, steps)
        layers: list[RoomyLayer] = self.cache.layers
        self.tokens = torch.zeros_like(group)  # (R,): what the recorded step reads
        self.at = torch.tensor([layers[0].get_seq_length()], device=group.device)  # (1,): where the next token goes
        # Flash attention sees all of a row's memory from its beginning, which padding would be part of.
        shared = layers[0].shared
        assert shared is not None
        flash = speedups().split_attention and self.own_bias is None and has_kernel(shared[0])
        if flash and bool((self.group.diff() >= 0).all()):
            self.flash = self._flash(self.at.to(torch.int32).expand(len(group)).clone())
        else:
            whole = torch.full((len(group), 1, 1, layers[0].capacity), -torch.inf, device=group.device)
            written = layers[0].get_seq_length()
            whole[..., :written] = 0.0 if self.own_bias is None else self.own_bias[..., :written]
            self.own_bias = whole  # (R, 1, 1, capacity): minus infinity where nothing is written yet
        for layer in layers:
            layer.fix(self.at, tokens_first=self.flash is not None)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False

    def advance(self, tokens: Tensor) -> Tensor:
        """Logits (R, V) after one more token (R,) in every row; the next call overwrites them."""
        self.tokens.copy_(tokens)
        if not tokens.is_cuda or not self.warm:  # in their first call libraries set themselves up
            self.warm = True
            return self._step()
        if self.graph is None:
            self.graph, self.recorded = self._record()
        self.graph.replay()
        return self.recorded

    def keep(self, rows: Tensor) -> None:
        """As SharedPrompts; the recording for more rows is dropped."""
        self.graph, self.warm = None, False
        super().keep(rows)
        self.tokens = self.tokens[rows]
        if self.flash is not None:
            self.flash = self._flash(self.flash.used[rows])
            for layer in self.cache.layers:
                layer.shared = by_token(layer.shared)  # no copy, unless a prompt was removed

    def _attention(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """As SharedPrompts."""
        if self.flash is None or query.shape[2] > 1:
            return super()._attention(module, query, key, value, scale)
        return self.flash.attend(query, key, value, self.cache.layers[module.layer_idx].shared, scale)

    def _flash(self, used: Tensor) -> FlashStep:
        layer: RoomyLayer = self.cache.layers[0]
        assert layer.shared is not None
        return FlashStep(self.group, self.lengths, layer.shared[0].shape[2], used, layer.capacity)

    def _record(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """The recorded step and its output logits. Does not use `torch.cuda.graph`, which empties the allocator."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        if torch.cuda.mem_get_info()[0] < ROOM:  # while recording, the allocator cannot release unused memory
            torch.cuda.empty_cache()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                logits = self._step()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        return graph, logits

    def _step(self) -> Tensor:
        if self.flash is not None:
            self.flash.used += 1
        elif self.own_bias is not None:
            self.own_bias.index_fill_(3, self.at, 0.0)
        every = torch.arange(len(self.tokens), device=self.tokens.device)
        with compiling():
            logits = self.run.logits(self.tokens[:, None], self.position[:, None], self._attention, every, self.cache)
        self.position += 1
        self.at += 1
        return logits
