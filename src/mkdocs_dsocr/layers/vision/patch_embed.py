"""PatchEmbed: a page cut into patches, each mapped to a vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import Conv2d
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.quantities import Quantity


@layer
class PatchEmbed(BaseLayer):
    """Cut each view into square patches and map every patch to a vector.

    A convolution whose stride equals its kernel; the permutation to
    channels-last that follows is a view.
    """

    source = "deepencoder.PatchEmbed (SAM)"
    rationale = Rationale(
        counted="The convolution.",
        not_counted="The permutation: it moves no bytes until somebody reads the result.",
        assumed="Patches do not overlap, so each pixel is read once.",
        would_change="The view's side: work grows with its square.",
    )

    convolution: ClassVar[str] = "proj"
    """Name of the module that is the convolution."""

    views: Quantity = dim("B", "views in the batch", "views")
    in_channels: Quantity = dim("C_in", "colour channels")
    width: Quantity = dim("d", "width of a patch's vector", "elements")
    patch: Quantity = dim("p", "side of a patch", "px")
    grid: Quantity = dim("g", "patches per side", "patches")

    def forward(self) -> Iterator[Step]:
        conv = Conv2d(
            views=self.views,
            in_channels=self.in_channels,
            out_channels=self.width,
            kernel=self.patch,
            side_in=self.patch * self.grid,
            side_out=self.grid,
            bias=True,
            of_pixels=True,
        )
        pixels = Tensor("pixels", self.views * (self.patch * self.grid) ** 2 * self.in_channels)
        patches = Tensor("patches", self.views * self.grid**2 * self.width)
        yield Child(self.convolution, conv, reads=(pixels,), writes=(patches,))
