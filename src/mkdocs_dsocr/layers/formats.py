"""Formats of stored values: bits a value, and the scales of group-wise formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mkdocs_dsocr.quantities import Quantity, ceil_div, exact_div


@dataclass(frozen=True)
class Format:
    """How values are stored.

    Attributes
    ----------
    name, bits
        Its name in a workload, and the bits of one value.
    group
        Values of a row that share a scale; 0 where a row has none.
    scale_bits
        Bits of one scale.
    """

    name: str
    bits: int
    group: int = 0
    scale_bits: int = 0

    def bytes(self, elements: Quantity, columns: Quantity | None = None) -> Quantity:
        """Return the bytes of `elements` values in rows of `columns`, their scales included.

        Values of no known row have no scales.
        """
        whole = self.bits % 8 == 0
        values: Quantity = self.bits // 8 * elements if whole else ceil_div(self.bits * elements, 8)
        if not self.group or columns is None:
            return values
        scales: Quantity = exact_div(elements, columns) * ceil_div(columns, self.group)
        return values + self.scale_bits // 8 * scales


FORMATS: Final = {
    f.name: f
    for f in (
        Format("bf16", 16),
        Format("fp16", 16),
        Format("fp8", 8),
        Format("int8", 8, group=128, scale_bits=16),
        Format("int4", 4, group=128, scale_bits=16),
        Format("fp32", 32),
        Format("nf4", 4, group=64, scale_bits=8),
        Format("mlx4", 4, group=64, scale_bits=32),
        Format("mlx8", 8, group=64, scale_bits=32),
        Format("nvfp4", 4, group=16, scale_bits=8),
        Format("mxfp4", 4, group=32, scale_bits=8),
    )
}
"""Formats by name, in the order of their codes; new ones go to the end.

fp8 has one scale per tensor; it is not counted. int8 and int4 have a scale of 16 bits for every 128
values of a row (of a weight's inputs, of a head's width), without zero points. nf4 is that of
bitsandbytes with double quantisation: an 8-bit scale for every 64 values. mlx4 and mlx8 have a
scale and a bias of 16 bits each for every 64 values. nvfp4 and mxfp4 (OCP Microscaling) are 4-bit
floats with an 8-bit scale for every 16 and 32 values; the scale of a whole nvfp4 tensor is not
counted.
"""
