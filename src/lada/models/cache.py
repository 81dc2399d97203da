"""A cache of keys and values with spare room: a new token is written in place, without copying.

The DynamicCache of transformers copies all of them for every token and layer.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 16
"""The spare room of a layer, tokens; beyond it, the layer is copied."""


def roomy_cache(config: Any) -> DynamicCache:
    """Return an empty cache for a model; layers with another kind of state, or a window, stay those of transformers."""
    cache = DynamicCache(config=config)
    cache.layers = [Roomy() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class Roomy(DynamicLayer):
    """One layer; its `keys` and `values` are views of larger buffers."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append the states [rows, heads, tokens, width] of new tokens and return the states of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._held = _Grown(key_states), _Grown(value_states)
        keys, values = self._held
        self.keys, self.values = keys.append(key_states), values.append(value_states)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows in this order."""
        if self.is_initialized:
            self.keys, self.values = (each.select(beam_idx) for each in self._held)


class _Grown:
    """States [rows, heads, tokens, width] in a buffer that has room for more tokens."""

    def __init__(self, like: Tensor) -> None:
        self._buffer, self._length = like[..., :0, :], 0

    def append(self, new: Tensor) -> Tensor:
        end = self._length + new.shape[-2]
        if end > self._buffer.shape[-2]:
            wider = new.new_empty((*new.shape[:-2], end + ROOM, new.shape[-1]))
            wider[..., : self._length, :] = self._buffer[..., : self._length, :]
            self._buffer = wider
        self._buffer[..., self._length : end, :] = new
        self._length = end
        return self._view()

    def select(self, rows: Tensor) -> Tensor:
        self._buffer = self._buffer.index_select(0, rows.to(self._buffer.device))
        return self._view()

    def _view(self) -> Tensor:
        return self._buffer[..., : self._length, :]
