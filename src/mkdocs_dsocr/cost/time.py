"""Sums over decode steps, and the times of the host and of stages.

Every function takes numbers, NumPy arrays or symbols, except where said.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, Final

from mkdocs_dsocr.cost.rates import MsPer
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.quantities import (
    Expr,
    Quantity,
    apply,
    is_zero,
    largest,
    maximum,
    ratio,
    select,
    total,
)

Array = Any
"""A NumPy array."""
Parts = tuple[Any, Any, Any, Any]
"""What tensor cores, CUDA cores, memory and the L2 cache need for a kernel, in ms."""
CEILINGS: Final = ("tensor cores", "CUDA cores", "memory", "kernel start")
"""What a kernel's time consists of: the longest of the first three, and its start.

``memory`` is the longer of memory and L2 cache.
"""


def longest_ms(first: Parts, last: Parts, steps: Any) -> Any:
    """Return the sum over `steps` equal steps of the longest part of a kernel's time, in ms.

    Parameters
    ----------
    first, last
        The parts in the first and in the last step. Between them each changes by the same amount
        per step.
    steps
        The number of steps.
    """
    if isinstance(steps, int) and steps == 1:
        return largest(t for t in first if not is_zero(t))
    if any(isinstance(x, Expr) for x in (*first, *last, steps)):
        return apply("series_of_maximum", *first, *last, steps)
    return series_of_maximum(*first, *last, steps)


def series_of_maximum(*ends_and_steps: Any) -> Array:
    """Return the sum over steps of the largest of four parts, each in a straight line.

    Arrays of any shape: four parts in the first step, the same in the last, the number of steps.
    Where the same part is largest at both ends, it is largest between them, and the sum is an
    arithmetic series.
    """
    import numpy as np

    *ends, steps = ends_and_steps
    firsts, lasts = ends[:4], ends[4:]
    first, last = functools.reduce(np.maximum, firsts), functools.reduce(np.maximum, lasts)
    same = functools.reduce(
        np.logical_or, ((a == first) & (b == last) for a, b in zip(firsts, lasts, strict=True))
    )
    result = np.atleast_1d(steps * (first + last) / 2)
    if not np.all(same):
        other = np.nonzero(~np.broadcast_to(same, result.shape))
        chosen = [np.broadcast_to(x, result.shape)[other] for x in (*ends, steps)]
        result[other] = by_part(np.array(chosen[:4]), np.array(chosen[4:8]), chosen[8]).sum(0)
    return result


def by_part(first: Array, last: Array, steps: Array) -> Array:
    """Return the sum over the steps of each kernel's longest part, by the part.

    Arrays only.

    Parameters
    ----------
    first, last
        ``[parts, kernels]``: times in the first and the last step.
    steps
        ``[kernels]``: the number of steps.

    Returns
    -------
    ``[parts, kernels]``. The range of steps is cut where two of the lines cross. Within a piece
    one of them is the largest in every step.
    """
    import numpy as np

    result, every = np.zeros(first.shape), np.arange(first.shape[1])
    low, high = first.argmax(axis=0), last.argmax(axis=0)
    result[low, every] = steps * (first[low, every] + last[low, every]) / 2
    crossing = np.flatnonzero((low != high) & (steps > 1))
    if len(crossing):
        result[:, crossing] = _pieces(first[:, crossing], last[:, crossing], steps[crossing])
    return result


def _pieces(first: Array, last: Array, steps: Array) -> Array:
    """Return :func:`by_part` where it is not the same part that is longest in every step."""
    import numpy as np

    slope = (last - first) / (steps - 1)
    cuts = []
    for i, j in itertools.combinations(range(len(first)), 2):
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = np.nan_to_num((first[j] - first[i]) / (slope[i] - slope[j]))
        cuts.append(np.clip(np.ceil(crossing), 0, steps))
    borders = np.sort([np.zeros_like(cuts[0]), *cuts, steps], axis=0)
    result, every = np.zeros(first.shape), np.arange(first.shape[1])
    for start, end in itertools.pairwise(borders):
        sums = (end - start) * (first + slope * (start + end - 1) / 2)
        longest = sums.argmax(axis=0)
        result[longest, every] += sums[longest, every]
    return result


def causal_products(layer: Layer) -> dict[str, Quantity]:
    """Return the FLOPs of a layer's own products on tensor cores, masked pairs left out, by format.

    Formats have peaks of their own.
    """
    found: dict[str, list[Quantity]] = {}
    for operation in layer.operations():
        if operation.on_tensor_cores:
            found.setdefault(operation.compute_dtype, []).append(operation.least_tensor_core_flops)
    return {dtype: total(flops) for dtype, flops in found.items()}


def host_ms(launches: Any, waits: Any, per: MsPer) -> Any:
    """Return what launching operators, and waiting for values, costs the host, in ms."""
    return launches * per.dispatch_ms + waits * per.sync_ms


def stage_ms(
    counts: Mapping[str, Any],
    device_ms: Any,
    causal_ms: Any,
    per: MsPer,
    is_graph: Any = 0,
    replays: Any = 0,
) -> dict[str, Any]:
    """Return estimate, device, host and minimum time of a stage or a pass, in ms.

    Parameters
    ----------
    counts
        Its ``dispatches``, ``host_syncs`` and ``compulsory_io_bytes``.
    device_ms
        The sum of its kernels.
    causal_ms
        Its products on tensor cores at the dense peak, masked pairs left out.
    per
        The GPU and its host.
    is_graph, replays
        Whether it is replayed from CUDA graphs, and how many graph launches that takes.
    """
    launches = select(is_graph, replays, counts["dispatches"])
    waits = select(is_graph, 0, counts["host_syncs"])
    host = host_ms(launches, waits, per)
    return {
        "time_ms": maximum(device_ms, host),
        "device_time_ms": device_ms,
        "host_time_ms": host,
        "floor_time_ms": maximum(causal_ms, counts["compulsory_io_bytes"] * per.bandwidth_ms),
    }


def mean(first: Quantity, last: Quantity) -> Any:
    """Return the mean of two quantities as a float."""
    return ratio(first + last, 2)
