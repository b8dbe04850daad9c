"""Device time of one kernel from at most ten constants per GPU.

Every function takes numbers, NumPy arrays or symbols (:mod:`mkdocs_dsocr.quantities`). A time is
the minimum time of a kernel of its kind plus the longest of three parts: FLOPs over a rate,
elements over a rate, and bytes over a rate. Each part is linear in the length of the KV cache. Tile
and wave terms use only sizes that are constant in a decode loop.

Minimum times are durations that a profiler records. The gap between two kernels is not included
(about 0.2 µs in a CUDA graph). The constants of GEMM tables are an exception, see
:mod:`benchmarks.calibration_tables`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from mkdocs_dsocr.quantities import Quantity, ceil_div, maximum, ratio

TILE: Final = 64
"""Rows and columns of the tile that the model assumes for every GEMM."""
SPLIT: Final = 16
"""Parts that the inner dimension is split into where whole tiles leave SMs idle."""
OVERLAP: Final = 0.3
"""Share of the shorter of compute and memory time that a GEMM does not hide. One value for all."""
CUDA_SHARE: Final = 0.25
"""Share of the CUDA cores' peak that matrix products on CUDA cores reach."""
SECTOR_BYTES: Final = 32
"""What one uncoalesced access moves between L2 cache and SM."""
ATTENTION_TILE: Final = (64, 128)
"""Queries and keys of a tile of scores in fused attention."""

Kind = Literal[
    "matvec", "gemm", "cuda gemm", "attention", "vectorised", "per element", "reduction", "strided"
]


@dataclass(frozen=True)
class Gpu:
    """Data-sheet values of a GPU.

    Attributes
    ----------
    tensor_tflops, cuda_tflops
        Dense peaks for bfloat16 tensor cores and float32 CUDA cores.
    gb_s
        Memory bandwidth, 1e9 byte/s.
    units, clock_ghz
        Number of SMs, and the clock at which the peaks are stated.
    l2_bytes
        Size of the L2 cache.
    """

    tensor_tflops: float
    cuda_tflops: float
    gb_s: float
    units: int
    clock_ghz: float
    l2_bytes: float


@dataclass(frozen=True)
class Constants:
    """What the time model has to know about a GPU beyond its data sheet.

    Attributes
    ----------
    bandwidth_share
        Bandwidth that large kernels reach, as a share of the data sheet.
    l2_share
        Rate of the L2 cache in units of the data sheet's memory bandwidth. None: activations are
        timed as if they came from memory.
    tensor_share
        Rate of large GEMMs, as a share of the tensor peak.
    gemm_us, matvec_us, elementwise_us, reduction_us, attention_us
        Minimum times of kernels by kind. No `matvec_us`: products of one row are timed as GEMMs.
    elements_per_clock
        Output elements per clock and SM of kernels that compute an address for every element.
    scores_per_clock
        Attention scores per clock and SM, softmax and bias included.
    """

    bandwidth_share: float
    tensor_share: float
    gemm_us: float
    elementwise_us: float = 0.0
    reduction_us: float = 0.0
    attention_us: float = 0.0
    elements_per_clock: float = 1.0
    scores_per_clock: float = 1.0
    l2_share: float | None = None
    matvec_us: float | None = None


def minimum(a: Quantity, b: Quantity) -> Any:
    """Return the smaller of two quantities."""
    return a + b - maximum(a, b)


def memory_us(gpu: Gpu, c: Constants, cold: Quantity, warm: Quantity) -> Any:
    """Return the time of traffic: all bytes cross the L2 cache, cold ones also the memory bus."""
    per_us = gpu.gb_s * 1e3
    if c.l2_share is None:
        return ratio(cold + warm, c.bandwidth_share * per_us)
    through_l2 = ratio(cold + warm, c.l2_share * per_us)
    return maximum(ratio(cold, c.bandwidth_share * per_us), through_l2)


def tiles_us(
    gpu: Gpu, c: Constants, m: Quantity, n: Quantity, k: Quantity, groups: Quantity = 1
) -> Any:
    """Return the compute time of a GEMM: whole tiles in whole waves of SMs.

    Either every SM computes whole tiles, or each tile is split along the inner dimension into
    `SPLIT` parts, and a second kernel adds them up. The better choice counts.
    """
    tiles = groups * ceil_div(m, TILE) * ceil_div(n, TILE)
    tile_us = ratio(2 * TILE * TILE * k, c.tensor_share * gpu.tensor_tflops * 1e6 / gpu.units)
    whole = ceil_div(tiles, gpu.units) * tile_us
    split = ratio(ceil_div(SPLIT * tiles, gpu.units) * tile_us, SPLIT) + c.gemm_us
    return minimum(whole, split)


def gemm_us(
    gpu: Gpu,
    c: Constants,
    m: Quantity,
    n: Quantity,
    k: Quantity,
    memory: Quantity,
    groups: Quantity = 1,
) -> Any:
    """Return the time of a matrix product on tensor cores, given its memory time."""
    compute = tiles_us(gpu, c, m, n, k, groups)
    return c.gemm_us + maximum(compute, memory) + OVERLAP * minimum(compute, memory)


def matvec_us(c: Constants, memory: Quantity) -> Any:
    """Return the time of a product with one row, on a GPU that has a kernel for it."""
    assert c.matvec_us is not None
    return c.matvec_us + memory


def cuda_gemm_us(gpu: Gpu, c: Constants, flops: Quantity, memory: Quantity) -> Any:
    """Return the time of a matrix product or convolution on CUDA cores."""
    return c.gemm_us + maximum(ratio(flops, CUDA_SHARE * gpu.cuda_tflops * 1e6), memory)


def attention_us(
    gpu: Gpu,
    c: Constants,
    heads: Quantity,
    q_len: Quantity,
    kv_len: Quantity,
    head_dim: Quantity,
    memory: Quantity,
    causal: bool = False,
) -> Any:
    """Return the time of fused attention. `heads` counts all heads of all sequences.

    One query per sequence is bound by memory. Otherwise scores are computed in whole tiles, of
    which a causal mask leaves half and the diagonal.
    """
    if isinstance(q_len, int | float) and q_len == 1:
        return c.attention_us + memory
    rows, columns = ATTENTION_TILE
    q, kv = rows * ceil_div(q_len, rows), columns * ceil_div(kv_len, columns)
    scores = heads * q * (ratio(kv + columns, 2) if causal else kv)
    tensor = ratio(4 * scores * head_dim, c.tensor_share * gpu.tensor_tflops * 1e6)
    softmax = ratio(scores, c.scores_per_clock * gpu.units * gpu.clock_ghz * 1e3)
    return c.attention_us + maximum(maximum(tensor, softmax), memory)


def elementwise_us(gpu: Gpu, c: Constants, kind: Kind, elements: Quantity, memory: Quantity) -> Any:
    """Return the time of a kernel that computes each element of its output on its own.

    Kinds: ``vectorised`` (contiguous operands of one shape), ``per element`` (strided or broadcast
    operands, casts to wider types, indexing), ``strided`` (neighbouring threads read distant
    addresses, so that each access moves a whole sector).
    """
    if kind == "vectorised":
        return c.elementwise_us + memory
    per_element = ratio(elements, c.elements_per_clock * gpu.units * gpu.clock_ghz * 1e3)
    if kind == "strided":
        rate = c.l2_share if c.l2_share is not None else c.bandwidth_share
        sectors = ratio(SECTOR_BYTES * elements, rate * gpu.gb_s * 1e3)
        per_element = maximum(per_element, sectors)
    return c.elementwise_us + maximum(per_element, memory)


def reduction_us(gpu: Gpu, c: Constants, memory: Quantity) -> Any:
    """Return the time of a sum, mean, softmax, norm, sort or top-k."""
    return c.reduction_us + memory
