"""Matrix products, and the tiles of tensor cores that they are padded to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mkdocs_dsocr.quantities import Quantity, ceil_div

TILE: Final = (16, 16, 8)
"""Rows, inner width and columns of one tensor-core instruction for 16 bits (m16 n8 k16).

Of fewer bits, as many more stand in the inner width.
"""


@dataclass(frozen=True)
class Product:
    """Matrix products of `rows` rows in all, split over `groups` of equal size.

    Attributes
    ----------
    rows, inner, columns
        Each row of `inner` elements gives one of `columns`.
    groups
        Products that the rows are split over: heads, windows, experts. A tile
        of a tensor core holds rows of one product only.
    gradients
        Operands that need a gradient: each is a product of equal size in the backward.
    """

    rows: Quantity
    inner: Quantity
    columns: Quantity
    groups: Quantity = 1
    gradients: int = 2

    @property
    def flops(self) -> Quantity:
        """2 per multiply-add."""
        return 2 * self.rows * self.inner * self.columns

    def padded_flops(self, bits: int = 16) -> Quantity:
        """Return the same with every side rounded up to a tensor core's tile."""
        rows, inner, columns = TILE[0], TILE[1] * 16 // bits, TILE[2]
        padded: Quantity = (
            2
            * (self.groups * rows * ceil_div(self.rows, rows * self.groups))
            * (inner * ceil_div(self.inner, inner))
            * (columns * ceil_div(self.columns, columns))
        )
        return padded
