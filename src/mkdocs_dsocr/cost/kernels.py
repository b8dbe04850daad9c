"""The kernels of a layer tree as columns: counted once, timed on any GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mkdocs_dsocr.cost.rates import MsPer
from mkdocs_dsocr.cost.time import CEILINGS, by_part, causal_products, mean
from mkdocs_dsocr.cost.work import Work, exposed_ms, parts_ms, start_ms, works
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.quantities import is_zero

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

    def sums(self, nodes: list[int] | slice = slice(None)) -> tuple[list[float], float]:
        """Return the sums of `by_ceiling` and of `causal` over nodes; all where not given."""
        return self.by_ceiling[nodes].sum(axis=0).tolist(), sum(self.causal[nodes].tolist())


class Kernels:
    """What every kernel asks of a GPU, in the first and in the last of its calls.

    Parameters
    ----------
    visits
        The layers of a walk, each with the index of its node.
    """

    def __init__(self, visits: Iterable[tuple[int, NodeVisit]]) -> None:
        visits = list(visits)
        rows = [_Row(index, visit, *found) for index, visit in visits for found in works(visit)]
        self.families = sorted({row.kernel.category for row in rows})
        self._nodes = max((index for index, _ in visits), default=-1) + 1
        groups: dict[Any, list[_Row]] = {}
        for row in rows:
            key = row.first.pattern, row.first.compute_dtype, is_zero(row.first.tiles)
            groups.setdefault(key, []).append(row)
        self._last: tuple[MsPer, KernelTimes] | None = None
        self._groups = [_Group(found, self.families) for found in groups.values()]
        self._causal = [
            (index, dtype, visit.modules * visit.calls * visit.steps * mean(flops, last[dtype]))
            for index, visit in visits
            if (first := causal_products(visit.layer)) and (last := causal_products(visit.last))
            for dtype, flops in first.items()
        ]

    def times(self, per: MsPer) -> KernelTimes:
        """Return how long each node's own kernels take on a GPU; the last one is kept."""
        if self._last is None or self._last[0] is not per:
            self._last = (per, self._times_on(per))
        return self._last[1]

    def _times_on(self, per: MsPer) -> KernelTimes:
        import numpy as np

        result = KernelTimes(
            np.zeros((self._nodes, len(CEILINGS))),
            np.zeros((self._nodes, len(self.families))),
            np.zeros(self._nodes),
        )
        for group in self._groups:
            spent = group.times(per)
            np.add.at(result.by_ceiling, group.node, spent)
            np.add.at(result.by_family, (group.node, group.family), spent.sum(axis=1))
        for index, dtype, flops in self._causal:
            result.causal[index] += flops * per.tensor_peak[dtype]
        return result


@dataclass(frozen=True)
class _Row:
    """A kernel, where it runs, and its work in the first and in the last of its calls."""

    node: int
    visit: NodeVisit
    kernel: Kernel
    first: Work
    last: Work


class _Group:
    """Kernels of one pattern and format, as columns.

    Attributes
    ----------
    node, family
        The index of each kernel's node and of its family.
    """

    def __init__(self, rows: Sequence[_Row], families: Sequence[str]) -> None:
        import numpy as np

        self.node = np.array([row.node for row in rows], int)
        self.family = np.array([families.index(row.kernel.category) for row in rows], int)
        self._calls = np.array([row.visit.modules * row.visit.calls for row in rows])
        self._steps = np.array([row.visit.steps for row in rows])
        self._first = _columns([row.first for row in rows])
        self._last = _columns([row.last for row in rows])

    def times(self, per: MsPer) -> Array:
        """Return ``[kernels, ceilings]``: milliseconds over all calls."""
        import numpy as np

        shape = self._steps.shape
        ends = []
        for work in (self._first, self._last):
            parts = parts_ms(work, per, self._last.activations)
            ends.append(np.array([np.broadcast_to(p, shape) for p in parts], float))
        first, last = ends
        longest = by_part(first, last, self._steps)
        # Products in tiles are the same in every step.
        exposed = self._steps * exposed_ms(self._first, (first[0], first[1], first[2], first[3]))
        longest[first.argmax(axis=0), np.arange(len(self._steps))] += exposed
        starts = self._steps * (start_ms(self._first, per) + start_ms(self._last, per)) / 2
        tensor, cuda, memory, l2 = longest
        return (self._calls * np.array([tensor, cuda, memory + l2, starts])).T


def _columns(works: Sequence[Work]) -> Work:
    """Return the work of several kernels as arrays. As floats: counts may need over 64 bits."""
    import numpy as np

    def column(name: str) -> Any:
        values = [getattr(work, name) for work in works]
        return 0 if all(map(is_zero, values)) else np.array(values, float)

    return works[0].with_each(column)
