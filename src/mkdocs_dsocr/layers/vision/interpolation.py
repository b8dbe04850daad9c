"""Resized position tables, shared by SAM and CLIP."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise
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
    yield copy("table as float32", read, table, kernel=write)
    yield elementwise(
        "bicubic resize",
        costs.MULTIPLY_ADD * after * taps**2,
        (table,),
        resized,
        category="interpolation",
        kernel=write,
        pattern="reduction",
        why="A cubic kernel spans 4 entries per side, 4·from/to where it shrinks (antialiasing): "
        "one multiply-add for each of the taps² entries. Weights are not counted.",
    )
    yield copy("resized table as bfloat16", resized, Tensor(write, after), kernel=write)
