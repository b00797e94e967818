"""Keys and values of the rollouts while they are generated, in memory laid out once for their full length."""

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer's cache with room for `capacity` positions.

    `DynamicLayer` copies everything at every token (`torch.cat`), which costs as much as the model itself when the
    model is small. Here the first `reorder_cache` lays out the room, and every further token is written into it.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.room: tuple[torch.Tensor, torch.Tensor] | None = None  # keys, values: (R, heads, capacity, width)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values (R, heads, new, width); all of them so far come back, as views."""
        if self.room is None:  # the prompts
            return super().update(key_states, value_states, *args, **kwargs)
        start, end = self.get_seq_length(), self.get_seq_length() + key_states.shape[2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, start:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep the rows `beam_idx`, in that order; a row may be taken several times."""
        length = self.get_seq_length()
        rooms = []
        for states in (self.keys, self.values):
            room = states.new_empty(len(beam_idx), states.shape[1], self.capacity, states.shape[3])
            torch.index_select(states, 0, beam_idx, out=room[:, :, :length])
            rooms.append(room)
        self.room = (rooms[0], rooms[1])
        self.keys, self.values = (room[:, :, :length] for room in self.room)


def make_cache(config: Any, capacity: int) -> DynamicCache:
    """An empty cache for a model; layers of other kinds (sliding window, linear attention) stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
