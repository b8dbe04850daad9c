"""Counts equal calls once: the blocks of a tower, decoder layers, experts.

On ``meta`` the sizes of a module and the shapes of its inputs decide what a call does. A call
that is equal to an earlier one is not run: it returns a tensor of the same shape. At the end of
the pass the counts of the earlier call are added for it.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mkdocs_dsocr.trace import TracedPeak
from mkdocs_dsocr.tracing.forwards import Forward, replaced_forwards
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.memory import ActivationMemory
from mkdocs_dsocr.tracing.modules import Modules


@dataclass(frozen=True)
class _Known:
    """A call that was counted: its module, the bytes read of its inputs, and its result."""

    path: str
    read: tuple[int, ...]
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Replay:
    """A call of `target` that stands for one of `source`, in calls of `callers`."""

    source: str
    target: str
    callers: tuple[str, ...]


class Replayer:
    """Replays calls of the modules that lists hold.

    Parameters
    ----------
    modules
        The modules of the model that runs.
    memory
        The activations in memory meanwhile.
    running
        The paths of the modules that run, outermost first.

    Attributes
    ----------
    replays
        What was not run, in order.
    """

    def __init__(self, modules: Modules, memory: ActivationMemory, running: list[str]) -> None:
        self.replays: list[Replay] = []
        self._modules, self._memory, self._running = modules, memory, running
        self._known: dict[tuple[Any, ...], _Known] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Replay what is called meanwhile."""
        items = self._modules.items.items()
        with replaced_forwards({m: self._wrapped(m.forward, *place) for m, place in items}):
            yield

    def _wrapped(self, forward: Forward, path: str, kind: int) -> Forward:
        def call(*args: Any) -> Tensor:
            key = (kind, *(_signature(path, a) for a in args))
            known = self._known.get(key)
            if known is not None:
                return self._replay(path, known, args)
            out: Tensor = forward(*args)
            read = tuple(self._memory.read_by_call(t) for t in args if isinstance(t, Tensor))
            self._known[key] = _Known(path, read, out.shape, out.stride(), out.dtype)
            return out

        return call

    def _replay(self, path: str, known: _Known, args: tuple[Any, ...]) -> Tensor:
        self.replays.append(Replay(known.path, path, tuple(self._running[:-1])))
        peak = rerooted(self._memory.peaks[known.path], known.path, path)
        inputs = [a for a in args if isinstance(a, Tensor)]
        with torch._C._DisableTorchDispatch():
            out = torch.empty_strided(known.shape, known.stride, dtype=known.dtype, device="meta")
            for cache in (a for a in args if isinstance(a, KVCache)):
                cache.take(_place(path), _place(known.path))
        self._memory.replay(peak, inputs, known.read, out)
        return out

    def spread(self, counts: MutableMapping[str, int], *, callers: bool = True) -> None:
        """Add to counts by path what was not run, and to its callers' where they include it."""
        for replay in self.replays:
            for suffix in self._modules.suffixes(replay.source):
                source, target = replay.source + suffix, replay.target + suffix
                if source in counts:
                    counts[target] = counts.get(target, 0) + counts[source]
            amount = counts.get(replay.source, 0)
            for caller in replay.callers if callers and amount else ():
                counts[caller] = counts.get(caller, 0) + amount

    def spread_peaks(self, peaks: MutableMapping[str, TracedPeak]) -> None:
        """Add the peaks of what was not run."""
        for replay in self.replays:
            for suffix in self._modules.suffixes(replay.source):
                peak = peaks.get(replay.source + suffix)
                if peak is not None:
                    target = replay.target + suffix
                    peaks.setdefault(target, rerooted(peak, replay.source, replay.target))


def rerooted(peak: TracedPeak, source: str, target: str) -> TracedPeak:
    """Return a peak below `source` as one below `target`."""
    return TracedPeak(peak.bytes, target + peak.path.removeprefix(source), peak.operator)


def _place(path: str) -> int:
    """Return the place of an item in its list, which is its layer in a cache."""
    return int(path.rpartition(".")[2])


def _signature(path: str, value: Any) -> Any:
    """Return what of an argument decides the work of the module at `path`."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, KVCache):
        return tuple(t.shape for t in value.layers.get(_place(path), ()))
    return value
