"""Keys and values of the rollouts during generation, in memory allocated once; those of prompts are kept separately."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer's cache with room for `capacity` positions.

    `DynamicLayer` copies everything at every token (`torch.cat`), which costs as much as the model itself if the model
    is small. Here `lay_out` allocates memory, and every further token is written into it.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.room: tuple[Tensor, Tensor] | None = None  # keys, values: (R, heads, capacity, width)
        self.shared: tuple[Tensor, Tensor] | None = None  # keys, values of the prompts: (C, heads, W, width)
        self.keys: Tensor
        self.values: Tensor
        self.at: Tensor | None = None  # (1,), on the device: position of the next token, once shapes are fixed
        self.tokens_first = False  # whether memory is laid out token by token instead of head by head

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values (R, heads, new, width). Returns views of all of the rows' own so far."""
        if self.room is None:  # the prompts
            # Under autocast, keys are float32 after their rotation, and the cache would keep that type.
            return super().update(key_states.to(value_states.dtype), value_states, *args, **kwargs)
        if self.at is not None:
            for room, states in zip(self.room, (key_states, value_states), strict=True):
                room.index_copy_(2, self.at, states)
            return self.keys, self.values
        start, end = self.get_seq_length(), self.get_seq_length() + key_states.shape[2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, start:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def share(self, rows: int) -> None:
        """Take the current content as prompts. From now on the cache holds what `rows` rows add to them."""
        self.shared = (self.keys, self.values)
        keys, values = (t.new_empty(rows, t.shape[1], self.capacity, t.shape[3]) for t in self.shared)
        self.room = (keys, values)
        self.keys, self.values = keys[:, :, :0], values[:, :, :0]

    def fix(self, at: Tensor, tokens_first: bool) -> None:
        """From now on return all of the memory. The attention must mask the positions after `at` (1,).

        With `tokens_first`, own and shared memory are laid out `by_token`; shapes stay the same.
        """
        assert self.room is not None and self.shared is not None
        for room in self.room:  # masking is not enough: products with uninitialised memory may be NaN
            room[:, :, self.get_seq_length() :] = 0
        self.at, self.tokens_first = at, tokens_first
        if tokens_first:
            self.room, self.shared = by_token(self.room), by_token(self.shared)
        self.keys, self.values = self.room

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep the rows `beam_idx`, in that order; a row may occur several times."""
        length = self.get_seq_length()
        rooms = []
        for states in (self.keys, self.values):
            heads, width = states.shape[1], states.shape[3]
            if self.tokens_first:
                room = states.new_empty(len(beam_idx), self.capacity, heads, width).transpose(1, 2)
            else:
                room = states.new_empty(len(beam_idx), heads, self.capacity, width)
            torch.index_select(states, 0, beam_idx, out=room[:, :, :length])
            rooms.append(room)
        self.room = (rooms[0], rooms[1])
        self.keys, self.values = (room[:, :, :length] for room in self.room)


def by_token(states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Keys and values (R, heads, tokens, width), stored as (R, tokens, heads, width)."""
    keys, values = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in states)
    return keys, values


def make_cache(config: Any, capacity: int) -> DynamicCache:
    """An empty cache for a model; layers of other kinds (sliding window, linear attention) are unchanged."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
