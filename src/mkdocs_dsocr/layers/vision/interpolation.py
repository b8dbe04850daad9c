"""Resized position tables, shared by SAM and CLIP."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.quantities import Quantity, ceil_div, maximum


def resize_table(
    side_from: Quantity, side_to: Quantity, width: Quantity, read: Tensor, write: str
) -> Iterator[Operation]:
    """Yield an antialiased bicubic resize of a square table, by way of float32.

    Parameters
    ----------
    side_from, side_to
        Sides of the table before and after.
    width
        Elements of one entry.
    read, write
        The table that is read, and the name of the resized one.
    """
    before = side_from**2 * width
    after = side_to**2 * width
    taps = ceil_div(4 * maximum(side_from, side_to), side_to)
    table, resized = Tensor("table32", before, "float32"), Tensor("resized32", after, "float32")
    yield Operation("table as float32", "copy", reads=(read,), writes=(table,), kernel=write)
    yield Operation(
        "bicubic resize",
        "interpolation",
        elementwise_flops=costs.MULTIPLY_ADD * after * taps**2,
        reads=(table,),
        writes=(resized,),
        kernel=write,
        why="A cubic kernel spans 4 entries a side, 4·from/to where it shrinks (antialiasing): "
        "one multiply-add for each of the taps² entries. Weights are not counted.",
    )
    yield Operation(
        "resized table as bfloat16",
        "copy",
        reads=(resized,),
        writes=(Tensor(write, after),),
        kernel=write,
    )
