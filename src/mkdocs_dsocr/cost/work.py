"""What a kernel asks of a GPU, and how long each part of the GPU needs for it.

All functions take numbers, NumPy arrays or symbols.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.cost.rates import MsPer
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.operations import Pattern, Tensor
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.quantities import (
    Quantity,
    ceil_div,
    is_zero,
    less,
    maximum,
    minimum,
    ratio,
    select,
    total,
)

TILE: Final = 64
"""Rows and columns of the tile that every SM computes of a matrix product."""
SPLIT: Final = 16
"""Parts that the inner dimension is split into where whole tiles leave SMs idle."""
OVERLAP: Final = 0.3
"""Share of the shorter of compute and memory that a matrix product does not hide."""
DIRECT: Final = 4
"""Peak of CUDA cores over what products and convolutions reach on them."""
ATTENTION_TILE: Final = (64, 128)
"""Queries and keys of a tile of scores in fused attention."""


@dataclass(frozen=True)
class Work:
    """What a kernel asks of a GPU in one call of its layer, all its launches together.

    Attributes
    ----------
    pattern, compute_dtype
        How it works, and the format of its products on tensor cores.
    flops
        On tensor cores, of attention and of products that are not computed in `tiles`.
    tiles, tile_flops
        Tiles of a product in one launch, and the FLOPs of one.
    rows
        Rows of a product, which is a matrix-vector product if there is one.
    threads
        On CUDA cores: FLOPs, elements or scores, by the pattern.
    moved, activations
        Bytes that cross its border, and those of them that a kernel before may have left in the
        L2 cache.
    launches, further
        How often it starts, and the further kernels that its operators launch.
    """

    pattern: Pattern
    compute_dtype: str | None
    flops: Any = 0
    tiles: Any = 0
    tile_flops: Any = 0
    rows: Any = 0
    threads: Any = 0
    moved: Any = 0
    activations: Any = 0
    launches: Any = 1
    further: Any = 0

    def with_each(self, quantity: Callable[[str], Any]) -> Work:
        """Return the same pattern with a quantity for each name in :data:`QUANTITIES`."""
        return dataclasses.replace(self, **{name: quantity(name) for name in QUANTITIES})


QUANTITIES: Final = tuple(f.name for f in dataclasses.fields(Work))[2:]


def works(visit: NodeVisit) -> list[tuple[Kernel, Work, Work]]:
    """Return each kernel of a layer with its work in the first and in the last of its calls."""
    pairs = zip(visit.layer.kernels(), visit.last.kernels(), strict=True)
    return [found for low, high in pairs for found in _works_of(low, high, visit)]


def _works_of(low: Kernel, high: Kernel, visit: NodeVisit) -> Iterator[tuple[Kernel, Work, Work]]:
    """Yield a kernel's work, and that of the copies before it."""
    starts = visit.starts
    copies = zip(low.rearranged, high.rearranged, strict=True)
    for before, after in copies:
        yield low, _copy(before, starts[0]), _copy(after, starts[1])
    # A part of a sum over equal steps has to be a straight line, and whole tiles are none.
    is_fixed = visit.last is visit.layer or low.products == high.products
    first = work_of(low, starts[0], is_fixed)
    last = first if visit.last is visit.layer else work_of(high, starts[1], is_fixed)
    yield low, first, last


def _copy(tensor: Tensor, starts: Quantity) -> Work:
    """Return the work of a copy into another order."""
    moved = 2 * tensor.bytes
    return Work(
        "strided",
        None,
        threads=tensor.elements,
        moved=moved,
        activations=moved,
        launches=starts,
    )


def work_of(kernel: Kernel, starts: Quantity = 1, is_fixed: bool = True) -> Work:
    """Return what a kernel asks of a GPU.

    Parameters
    ----------
    kernel
        The kernel.
    starts
        How often it starts: for each expert with rows, or once.
    is_fixed
        Whether its size is the same in every step: only then it is computed in whole tiles.
    """
    is_several = not (isinstance(starts, int) and starts == 1)
    work = Work(
        kernel.pattern,
        kernel.compute_dtype,
        moved=kernel.io_bytes,
        activations=kernel.activation_bytes,
        launches=starts * kernel.launches,
        # The minimum times of attention and products are those of the whole operator.
        further=starts * kernel.further_launches if kernel.pattern == "reduction" else 0,
    )
    if work.pattern == "product":
        if not is_fixed or len(kernel.products) > 1:
            return dataclasses.replace(work, flops=kernel.tensor_core_flops, rows=2)
        [product] = kernel.products
        # A launch that is one of several has one of the groups: an expert.
        rows = ratio(product.rows, product.groups)
        tiles = ceil_div(rows, TILE) * ceil_div(product.columns, TILE)
        if not is_several:
            tiles = product.groups * tiles
        return dataclasses.replace(
            work, tiles=tiles, tile_flops=2 * TILE * TILE * product.inner, rows=rows
        )
    if work.pattern == "attention":
        scores = _scores(kernel.products[0], kernel.is_causal, is_fixed)
        flops = 4 * scores * kernel.products[0].inner
        return dataclasses.replace(work, flops=flops, threads=scores)
    if work.pattern == "direct":
        return dataclasses.replace(work, threads=kernel.matmul_flops)
    is_each = work.pattern in ("per element", "strided")
    threads = kernel.written_elements if is_each else kernel.cuda_core_flops
    return dataclasses.replace(work, threads=threads)


def _scores(product: Product, is_causal: bool, is_fixed: bool) -> Quantity:
    """Return the scores that fused attention computes: in whole tiles where sizes are fixed.

    One query for each head is bound by memory: no scores.
    """
    queries, keys = ratio(product.rows, product.groups), product.columns
    all_keys = keys
    if is_fixed:
        rows, columns = ATTENTION_TILE
        all_keys = columns * ceil_div(keys, columns)
        tiled = rows * ceil_div(queries, rows)
        # A causal mask leaves half of the tiles, and the diagonal.
        used = ratio(all_keys + columns, 2) if is_causal else all_keys
        scores = product.groups * tiled * used
    else:
        scores = ratio(product.rows * keys, 2 if is_causal else 1)
    result: Quantity = select(less(1, queries), scores, 0)
    return result


def parts_ms(work: Work, per: MsPer, most_activations: Quantity) -> tuple[Any, Any, Any, Any]:
    """Return what tensor cores, CUDA cores, memory and the L2 cache need for a kernel, in ms.

    Parameters
    ----------
    work, per
        The kernel, and the GPU.
    most_activations
        Bytes of its activations in the last of its calls, which decide whether they are in the
        L2 cache.
    """
    tensor: Any = 0
    if work.pattern in ("product", "attention"):
        assert work.compute_dtype is not None  # products run on tensor cores
        flop_ms = per.tensor_peak[work.compute_dtype] * per.tensor_factor
        is_tiled = not is_zero(work.tiles)
        tensor = _tiles_ms(work, per, flop_ms) if is_tiled else work.flops * flop_ms
    thread_ms = {
        "attention": per.score_ms,
        "direct": DIRECT * per.cuda_ms,
        "per element": per.element_ms,
        "strided": per.sector_ms,
    }.get(work.pattern, per.cuda_ms)
    cuda = 0 if is_zero(work.threads) else work.threads * thread_ms
    if is_zero(most_activations):
        cold = work.moved
    else:
        is_cold = less(per.l2_bytes, most_activations)
        cold = select(is_cold, work.moved, work.moved - work.activations)
    return tensor, cuda, cold * per.memory_ms, work.moved * per.l2_ms


def _tiles_ms(work: Work, per: MsPer, flop_ms: Any) -> Any:
    """Return the time of a product in whole tiles on whole waves of SMs.

    Each SM computes whole tiles; or every tile is split along the inner dimension, and a second
    kernel adds the parts up. The shorter counts.
    """
    tile_ms = work.tile_flops * flop_ms * per.units
    whole = ceil_div(work.tiles, per.units) * tile_ms
    split = ratio(ceil_div(SPLIT * work.tiles, per.units) * tile_ms, SPLIT) + per.product_ms
    factor = select(less(1, work.rows), 1, per.vector_factor)
    return work.launches * factor * minimum(whole, split)


def exposed_ms(work: Work, parts: tuple[Any, Any, Any, Any]) -> Any:
    """Return what a product takes beyond the longest of its parts, in ms.

    Compute and memory do not hide each other entirely: :data:`OVERLAP` of the shorter is added.
    """
    tensor, _, memory, l2 = parts
    if work.pattern != "product" or is_zero(work.tiles):
        return 0
    return OVERLAP * minimum(tensor, maximum(memory, l2))


def start_ms(work: Work, per: MsPer) -> Any:
    """Return the minimum times of a kernel's launches, in ms."""
    product = per.product_ms
    if work.pattern == "product":
        product = select(less(1, work.rows), per.product_ms, per.vector_ms)
    one = {
        "product": product,
        "direct": per.product_ms,
        "reduction": per.reduction_ms,
        "attention": per.attention_ms,
    }.get(work.pattern, per.elementwise_ms)
    further = 0 if is_zero(work.further) else work.further * per.elementwise_ms
    return total((work.launches * one, further))
