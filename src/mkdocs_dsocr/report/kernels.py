"""The kernels of a layer tree as columns: no GPU changes them, every GPU times them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.operations import Kernel
from mkdocs_dsocr.layers.tree import Visit
from mkdocs_dsocr.report.timing import CEILINGS, rates_per_ms, series_of_maximum

Array = Any
"""A NumPy array."""


@dataclass(frozen=True)
class Times:
    """Milliseconds over all calls, a row for each node.

    Attributes
    ----------
    by_ceiling
        A column for each of :data:`CEILINGS`: what the kernels that it binds take.
    by_family
        The same, a column for each operator family.
    least_tensor
        Products at the dense peaks, masked pairs left out.
    """

    by_ceiling: Array
    by_family: Array
    least_tensor: Array

    def with_children(self, parents: Sequence[int | None]) -> Times:
        """Return the times with those of everything below; parents stand before children."""
        total = Times(self.by_ceiling.copy(), self.by_family.copy(), self.least_tensor.copy())
        for index in range(len(parents) - 1, 0, -1):
            parent = parents[index]
            for column in (total.by_ceiling, total.by_family, total.least_tensor):
                column[parent] += column[index]
        return total


class Kernels:
    """What every kernel asks of each ceiling, in the first and in the last of its calls.

    Parameters
    ----------
    visits
        The layers of a walk, each with the index of its node.
    """

    def __init__(self, visits: Iterable[tuple[int, Visit]]) -> None:
        import numpy as np

        visits = list(visits)
        rows = [
            (index, visit, low, high)
            for index, visit in visits
            for low, high in zip(visit.layer.kernels(), visit.last.kernels(), strict=True)
        ]
        self.families = sorted({low.category for _, _, low, _ in rows})
        self._nodes = max((index for index, _ in visits), default=-1) + 1
        self._node = np.array([index for index, *_ in rows], int)
        self._family = np.array([self.families.index(low.category) for _, _, low, _ in rows], int)
        self._rate = [low.rate for _, _, low, _ in rows]
        self._times = np.array([visit.modules * visit.calls for _, visit, _, _ in rows])
        self._steps = np.array([visit.steps for _, visit, _, _ in rows])
        self._first = np.array([_work(low) for _, _, low, _ in rows]).reshape(-1, len(CEILINGS))
        self._last = np.array([_work(high) for _, _, _, high in rows]).reshape(-1, len(CEILINGS))
        self._least = [(i, rate, f) for i, visit in visits for rate, f in _least(visit).items()]

    def timed(self, hardware: Hardware) -> Times:
        """Return how long each node's own kernels take on a GPU."""
        import numpy as np

        rates = {rate: rates_per_ms(rate, hardware) for rate in set(self._rate)}
        each = np.array([rates[rate] for rate in self._rate]).reshape(-1, len(CEILINGS))
        spent = self._times[:, None] * self._series(self._first / each, self._last / each)
        result = Times(
            np.zeros((self._nodes, len(CEILINGS))),
            np.zeros((self._nodes, len(self.families))),
            np.zeros(self._nodes),
        )
        np.add.at(result.by_ceiling, self._node, spent)
        np.add.at(result.by_family, (self._node, self._family), spent.sum(axis=1))
        for index, rate, flops in self._least:
            result.least_tensor[index] += flops / (hardware.peak_tflops(rate) * 1e9)
        return result

    def _series(self, first: Array, last: Array) -> Array:
        """Return the sum over its steps of each kernel's longest time, by ceiling."""
        import numpy as np

        low, high, every = first.argmax(axis=1), last.argmax(axis=1), np.arange(len(first))
        result = np.zeros_like(first)
        result[every, low] = self._steps * (first[every, low] + last[every, low]) / 2
        for i in np.flatnonzero((low != high) & (self._steps > 1)).tolist():
            result[i] = series_of_maximum(first[i].tolist(), last[i].tolist(), int(self._steps[i]))
        return result


def _work(kernel: Kernel) -> tuple[float, float, float]:
    work = (kernel.tensor_core_flops, kernel.cuda_core_flops, kernel.io_bytes)
    tensor, cuda, moved = (float(amount) for amount in work)  # type: ignore[arg-type]
    return tensor, cuda, moved


def _least(visit: Visit) -> Mapping[str, float]:
    """Return the FLOPs of a layer's own products over all calls, masked pairs left out, by format.

    Formats have peaks of their own.
    """

    def once(layer: BaseLayer) -> dict[str, float]:
        result: dict[str, float] = {}
        for o in layer.operations():
            if o.on_tensor_cores:
                result[o.rate] = result.get(o.rate, 0.0) + float(o.least_tensor_core_flops)  # type: ignore[arg-type]
        return result

    first, last = once(visit.layer), once(visit.last)
    times = visit.modules * visit.calls * visit.steps
    return {rate: times * (flops + last[rate]) / 2 for rate, flops in first.items()}
