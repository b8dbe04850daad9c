"""The kernels of a layer tree as columns: counted once, timed on any GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mkdocs_dsocr.cost.time import (
    CEILINGS,
    MsPer,
    by_ceiling,
    causal_products,
    ceilings_ms,
    kernel_work,
    kind_of,
    launches_of,
    mean,
)
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.tree import NodeVisit

Array = Any
"""A NumPy array."""


@dataclass(frozen=True)
class KernelTimes:
    """Milliseconds over all calls, a row for each node, without its children.

    Attributes
    ----------
    by_ceiling
        A column for each of :data:`mkdocs_dsocr.cost.time.CEILINGS`.
    by_family
        A column for each operator family.
    causal
        Products at the dense peaks, masked pairs left out.
    """

    by_ceiling: Array
    by_family: Array
    causal: Array


class Kernels:
    """What every kernel asks of each ceiling, in the first and in the last of its calls.

    Parameters
    ----------
    visits
        The layers of a walk, each with the index of its node.
    """

    def __init__(self, visits: Iterable[tuple[int, NodeVisit]]) -> None:
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
        self._rated = [(kind_of(low), low.compute_dtype) for _, _, low, _ in rows]
        self._times = np.array([visit.modules * visit.calls for _, visit, _, _ in rows])
        self._steps = np.array([visit.steps for _, visit, _, _ in rows])
        # As floats: a count may need more than 64 bits.
        self._first = np.array([kernel_work(low) for _, _, low, _ in rows], float).reshape(-1, 3)
        self._last = np.array([kernel_work(high) for *_, high in rows], float).reshape(-1, 3)
        self._starts = np.array([_starts(visit, low, high) for _, visit, low, high in rows], float)
        self._causal = [
            (index, dtype, visit.modules * visit.calls * visit.steps * mean(flops, last[dtype]))
            for index, visit in visits
            if (first := causal_products(visit.layer)) and (last := causal_products(visit.last))
            for dtype, flops in first.items()
        ]

    def timed(self, per: MsPer) -> KernelTimes:
        """Return how long each node's own kernels take on a GPU."""
        import numpy as np

        ones = {rated: ceilings_ms((1.0, 1.0, 1.0), *rated, per) for rated in set(self._rated)}
        each = np.array([ones[rated] for rated in self._rated], float).reshape(-1, 3)
        first, last = (self._first * each).T, (self._last * each).T
        longest = self._times[:, None] * by_ceiling(first, last, self._steps).T
        start = np.array([per.start[kind] for kind, _ in self._rated], float)
        spent = np.column_stack((longest, self._starts * start))
        result = KernelTimes(
            np.zeros((self._nodes, len(CEILINGS))),
            np.zeros((self._nodes, len(self.families))),
            np.zeros(self._nodes),
        )
        np.add.at(result.by_ceiling, self._node, spent)
        np.add.at(result.by_family, (self._node, self._family), spent.sum(axis=1))
        for index, dtype, flops in self._causal:
            result.causal[index] += flops * per.tensor_peak[dtype]
        return result


def _starts(visit: NodeVisit, low: Kernel, high: Kernel) -> float:
    """Return how often a kernel starts over all calls of a node: an expectation for experts."""
    first, last = visit.active * launches_of(low), visit.last_active * launches_of(high)
    return float(visit.modules * visit.calls * visit.steps * mean(first, last))
