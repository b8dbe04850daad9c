"""The time model: kernels under their ceilings, sums over decode steps, host and stage times.

Every function takes numbers, NumPy arrays or symbols, except where said.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.layers.metrics import largest
from mkdocs_dsocr.quantities import Expr, Quantity, apply, is_zero, maximum, ratio, select, total

Array = Any
"""A NumPy array."""
CEILINGS: Final = ("tensor cores", "CUDA cores", "memory", "kernel start")
"""What a kernel's time consists of: the longest of the first three, and its start."""
KINDS: Final = ("product", "attention", "other")
"""Kinds of kernels, which have constants of their own."""


@dataclass(frozen=True)
class MsPer:
    """Milliseconds that a GPU needs for one FLOP, one byte or one kernel.

    Attributes
    ----------
    tensor_peak
        For a FLOP on tensor cores at the dense peak, by format.
    tensor_factor
        The peak over the achieved rate of tensor cores, by kind of kernel.
    memory, start
        For a byte of DRAM traffic, and for the start of a kernel, by kind of kernel.
    cuda, bandwidth
        For a FLOP on CUDA cores, and for a byte at the peak bandwidth.
    dispatch, sync
        On the host, for one launch and for one wait.
    """

    tensor_peak: Mapping[str, Any]
    tensor_factor: Mapping[str, Any]
    memory: Mapping[str, Any]
    start: Mapping[str, Any]
    cuda: Any
    bandwidth: Any
    dispatch: Any
    sync: Any


def ms_per(hardware: Hardware) -> MsPer:
    """Return the times of one GPU."""
    known = [name for name in FORMATS if hardware.peak(name) is not None]
    bandwidth = 1e-6 / hardware.bandwidth_gb_s
    rates = {kind: hardware.kernel_rates(kind) for kind in KINDS}
    return MsPer(
        tensor_peak={name: 1e-9 / hardware.peak_tflops(name) for name in known},
        tensor_factor={kind: 1 / r.tensor_share for kind, r in rates.items()},
        memory={kind: bandwidth / r.bandwidth_share for kind, r in rates.items()},
        start={kind: r.start_us / 1000 for kind, r in rates.items()},
        cuda=1e-9 / hardware.cuda_fp32.tflops,
        bandwidth=bandwidth,
        dispatch=hardware.dispatch_us / 1000,
        sync=hardware.synchronise_us / 1000,
    )


def kind_of(kernel: Kernel) -> str:
    """Return which of :data:`KINDS` a kernel is."""
    if not any(operation.products for operation in kernel.operations):
        return "other"
    return "attention" if kernel.category == "attention" else "product"


def launches_of(kernel: Kernel) -> Quantity:
    """Return how often a kernel starts in one call of its layer."""
    return largest(operation.launches for operation in kernel.operations)


def kernel_work(kernel: Kernel) -> tuple[Quantity, Quantity, Quantity]:
    """Return what a kernel asks of tensor cores, CUDA cores and memory: FLOPs, FLOPs, bytes."""
    return kernel.tensor_core_flops, kernel.cuda_core_flops, kernel.io_bytes


def ceilings_ms(
    work: Sequence[Quantity], kind: str, compute_dtype: str | None, per: MsPer
) -> tuple[Any, Any, Any]:
    """Return the time of a kernel's work on tensor cores, CUDA cores and memory, in ms.

    Parameters
    ----------
    work
        FLOPs on tensor cores, FLOPs on CUDA cores, bytes.
    kind
        One of :data:`KINDS`.
    compute_dtype
        The format of its products on tensor cores; None where it has none.
    per
        The GPU.
    """
    tensor_ms = 0
    if compute_dtype is not None:
        tensor_ms = per.tensor_peak[compute_dtype] * per.tensor_factor[kind]
    rates = (tensor_ms, per.cuda, per.memory[kind])
    tensor, cuda, moved = (
        0 if is_zero(amount) or is_zero(rate) else amount * rate
        for amount, rate in zip(work, rates, strict=True)
    )
    return tensor, cuda, moved


def longest_ms(first: Sequence[Any], last: Sequence[Any], steps: Any) -> Any:
    """Return the sum over `steps` equal steps of a kernel's longest time, in ms.

    Parameters
    ----------
    first, last
        The times under each ceiling in the first and in the last step. Between them each time
        changes by the same amount per step.
    steps
        The number of steps.
    """
    if isinstance(steps, int) and steps == 1:
        return largest(t for t in first if not is_zero(t))
    if any(isinstance(x, Expr) for x in (*first, *last, steps)):
        return apply("series_of_maximum", *first, *last, steps)
    (a, b, c), (last_a, last_b, last_c) = first, last
    return series_of_maximum(a, b, c, last_a, last_b, last_c, steps)


def series_of_maximum(
    a: Any, b: Any, c: Any, last_a: Any, last_b: Any, last_c: Any, steps: Any
) -> Array:
    """Return the sum over `steps` steps of the largest of three, each in a straight line.

    Arrays of any shape. Where the same one is largest at both ends, it is largest between them,
    and the sum is an arithmetic series.
    """
    import numpy as np

    first = np.maximum(np.maximum(a, b), c)
    last = np.maximum(np.maximum(last_a, last_b), last_c)
    same = (a == first) & (last_a == last)
    same |= (b == first) & (last_b == last)
    same |= (c == first) & (last_c == last)
    result = np.atleast_1d(steps * (first + last) / 2)
    if not np.all(same):
        lines = (a, b, c, last_a, last_b, last_c, steps)
        other = np.flatnonzero(~np.broadcast_to(same, result.shape))
        chosen = [np.broadcast_to(x, result.shape)[other] for x in lines]
        result[other] = by_ceiling(np.array(chosen[:3]), np.array(chosen[3:6]), chosen[6]).sum(0)
    return result


def by_ceiling(first: Array, last: Array, steps: Array) -> Array:
    """Return the sum over the steps of each kernel's longest time, by the ceiling that binds it.

    Arrays only.

    Parameters
    ----------
    first, last
        ``[3, kernels]``: times on tensor cores, CUDA cores and memory in the first and the last
        step.
    steps
        ``[kernels]``: the number of steps.

    Returns
    -------
    ``[3, kernels]``. The range of steps is cut where two of the three lines cross (three cuts at
    most). Within a piece one of them is the largest in every step.
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
    """Return :func:`by_ceiling` where it is not the same ceiling that binds in every step."""
    import numpy as np

    slope = (last - first) / (steps - 1)
    cuts = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
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
    return launches * per.dispatch + waits * per.sync


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
        Its ``dispatches``, ``synchronisations`` and ``compulsory_io_bytes``.
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
    waits = select(is_graph, 0, counts["synchronisations"])
    host = host_ms(launches, waits, per)
    return {
        "time_ms": maximum(device_ms, host),
        "device_time_ms": device_ms,
        "host_time_ms": host,
        "floor_time_ms": maximum(causal_ms, counts["compulsory_io_bytes"] * per.bandwidth),
    }


def mean(first: Quantity, last: Quantity) -> Any:
    """Return the mean of two quantities as a float."""
    return ratio(first + last, 2)
