"""The KV cache of the reference modules, and one that reports what it allocates."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor

from mkdocs_dsocr.tracing.memory import ActivationMemory


class KVCache:
    """Keys and values of every layer, ``[B, kv_heads, K, head_dim]`` each."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return all keys and values of `layer`, the new ones last."""
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k, v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)
        self.layers[layer] = (k, v)
        return k, v

    def take(self, layer: int, source: int) -> None:
        """Store for `layer` tensors of the same shapes as those of `source`."""
        k, v = self.layers[source]
        self.layers[layer] = (torch.empty_like(k), torch.empty_like(v))

    def copy(self) -> Self:
        """Return a cache that has the same tensors and grows independently."""
        other = copy.copy(self)
        other.layers = dict(self.layers)
        return other

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for pair in self.layers.values() for t in pair)


class WatchedCache(KVCache):
    """A cache that tells `memory` which tensors it keeps."""

    def __init__(self, memory: ActivationMemory) -> None:
        super().__init__()
        self._memory = memory

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self._memory.keep(list(self.layers.get(layer, ())))
        with self._memory.caching():
            k, v = super().append(layer, k, v)
        self._memory.keep([k, v])
        return k, v
