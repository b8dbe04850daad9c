"""Follows activations in memory: how many bytes are there at most in a call of each module."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

from mkdocs_dsocr.trace import TracedPeak
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.tensors import storage, touched_bytes

T = TypeVar("T")


class _Call:
    """A call that runs: the memory behind its inputs, and what was allocated in it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.operators = 0
        self.sizes: dict[int, int] = {}
        self.current = 0
        self.peak = TracedPeak(0, path, 0)

    def add_input(self, key: int, size: int) -> None:
        """Count an input that is read for the first time; it was there from the start."""
        self.sizes[key] = size
        self.current += size
        self.peak = TracedPeak(self.peak.bytes + size, self.peak.path, self.peak.operator)

    def allocate(self, key: int, size: int, place: _Call) -> None:
        self.sizes[key] = size
        self.current += size
        if self.current > self.peak.bytes:
            self.peak = TracedPeak(self.current, place.path, place.operators)

    def reach(self, peak: TracedPeak, inputs: int) -> None:
        """Have a peak of a call below, whose inputs are here already."""
        amount = self.current + peak.bytes - inputs
        if amount > self.peak.bytes:
            self.peak = TracedPeak(amount, peak.path, peak.operator)

    def free(self, key: int) -> None:
        self.current -= self.sizes.pop(key, 0)


class ActivationMemory:
    """Counts storages of activations: inputs, and what is allocated, until it is freed.

    Parameters, buffers and the KV cache are none. An input counts as what is
    read of it, and stays until the call ends: the caller holds it.

    Attributes
    ----------
    peaks
        The largest peak of any call, by module path.
    times
        How often what runs now would run: each time on inputs of its own.
    """

    def __init__(self, modules: Modules, outermost: str) -> None:
        self.peaks: dict[str, TracedPeak] = {}
        self.times = 1
        self._others = set(modules.storages)
        self._calls = [_Call(outermost)]
        self._cached: float = 0

    def enter(self, path: str) -> None:
        """Begin a call of a module."""
        self._calls.append(_Call(path))

    def leave(self) -> str:
        """End the innermost call and return its path."""
        call = self._calls.pop()
        best = self.peaks.get(call.path)
        if best is None or call.peak.bytes > best.bytes:
            self.peaks[call.path] = call.peak
        return call.path

    def operator(self, inputs: list[Tensor], outputs: list[Tensor], *, launches: bool) -> None:
        """Follow one operator; one that launches nothing may still allocate."""
        given = {storage(tensor): tensor for tensor in inputs}
        for key, tensor in given.items() if launches else ():
            self._read(key, self.times * touched_bytes(tensor))
        place = self._calls[-1]
        for tensor in outputs:
            key = storage(tensor)
            if key not in self._others and key not in place.sizes and key not in given:
                self._allocate(key, tensor)
        place.operators += self.times * launches

    def _read(self, key: int, size: int) -> None:
        if key in self._others:
            return
        for call in reversed(self._calls):
            if key in call.sizes:
                return
            call.add_input(key, size)

    def _allocate(self, key: int, tensor: Tensor) -> None:
        memory = tensor.untyped_storage()
        weakref.finalize(memory, self._free, key).atexit = False
        if self._cached:
            self._cached -= 1
            self._others.add(key)
            return
        for call in self._calls:
            call.allocate(key, memory.nbytes(), self._calls[-1])

    def _free(self, key: int) -> None:
        self._others.discard(key)
        for call in self._calls:
            call.free(key)

    def read_by_call(self, tensor: Tensor) -> int:
        """Return the bytes of an input that the innermost call has read; 0 if it has not."""
        return self._calls[-1].sizes.get(storage(tensor), 0)

    def replay(
        self, peak: TracedPeak, inputs: list[Tensor], read: tuple[int, ...], out: Tensor
    ) -> None:
        """Let the innermost call be one that had a `peak`, read of its inputs and returned."""
        for tensor, size in zip(inputs, read, strict=True):
            if size:
                self._read(storage(tensor), size)
        for call in self._calls:
            call.reach(peak, sum(read))
        self._allocate(storage(out), out)

    def keep(self, tensors: list[Tensor]) -> None:
        """Take tensors for KV cache from now on."""
        for key in map(storage, tensors):
            self._others.add(key)
            for call in self._calls:
                call.free(key)

    def once(self, item: T, times: int) -> Iterator[T]:
        """Yield one of equal items; what the caller does with it counts as often as there are."""
        self.times = times
        yield item
        self.times = 1

    @contextmanager
    def caching(self, tensors: float = math.inf) -> Iterator[None]:
        """Take what is allocated meanwhile, or the first `tensors` of it, for KV cache."""
        self._cached = tensors
        try:
            yield
        finally:
            self._cached = 0
