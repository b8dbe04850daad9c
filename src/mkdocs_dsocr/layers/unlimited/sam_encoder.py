"""Unlimited-OCR's SAM tower as a whole: patches, layers, neck and downsampling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mkdocs_dsocr.layers.base import BaseLayer, Rationale, dim, layer
from mkdocs_dsocr.layers.builtin import Conv2d, ModuleList
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.layers.parts import Child, Parameter, Part
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.sam import (
    GlobalSamLayer,
    UnlimitedOcrSamLayerNorm,
    UnlimitedOcrSamPatchEmbeddings,
    WindowSamLayer,
)
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity, ceil_div


def _conv(
    views: Quantity,
    channels: tuple[Quantity, Quantity],
    kernel: int,
    sides: tuple[Quantity, Quantity],
) -> Conv2d:
    return Conv2d(
        views=views,
        in_channels=channels[0],
        out_channels=channels[1],
        kernel=kernel,
        side_in=sides[0],
        side_out=sides[1],
    )


@layer
class UnlimitedOcrSamVisionNeck(BaseLayer):
    """Two convolutions that narrow the map, each with a norm over its channels."""

    source = SOURCE
    rationale = Rationale(
        counted="Both convolutions and both norms.",
        not_counted="Permutations: views.",
        assumed="Each is a kernel of its own.",
        would_change="The view's side: work grows with its square.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "side of the map", "pixels")
    width: Quantity = dim("d", "channels before", "elements")
    channels: Quantity = dim("C_n", "channels after", "elements")

    def forward(self) -> Iterator[Part]:
        pixels, sides = self.views * self.grid**2, (self.grid, self.grid)
        x = Tensor("x", pixels * self.width)
        a, b, c, y = (Tensor(n, pixels * self.channels) for n in ("a", "b", "c", "y"))
        norm = UnlimitedOcrSamLayerNorm(rows=pixels, width=self.channels)
        first = _conv(self.views, (self.width, self.channels), 1, sides)
        second = _conv(self.views, (self.channels, self.channels), 3, sides)
        yield Child("conv1", first, reads=(x,), writes=(a,))
        yield Child("layer_norm1", norm, reads=(a,), writes=(b,))
        yield Child("conv2", second, reads=(b,), writes=(c,))
        yield Child("layer_norm2", norm, reads=(c,), writes=(y,))


@layer
class UnlimitedOcrSamVisionProj(BaseLayer):
    """Two convolutions that each halve the map's side."""

    source = SOURCE
    rationale = Rationale(
        counted="Both convolutions.",
        not_counted="Nothing.",
        assumed="Positions in the zero padding count in full.",
        would_change="The view's side: work grows with its square.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "side of the map", "pixels")
    channels: Quantity = dim("C_n", "channels before", "elements")
    mid_channels: Quantity = dim("C_2", "channels after the first", "elements")
    out_channels: Quantity = dim("C_3", "channels after the second", "elements")

    def forward(self) -> Iterator[Part]:
        half, quarter = ceil_div(self.grid, 2), ceil_div(ceil_div(self.grid, 2), 2)
        x = Tensor("x", self.views * self.grid**2 * self.channels)
        a = Tensor("a", self.views * half**2 * self.mid_channels)
        y = Tensor("y", self.views * quarter**2 * self.out_channels)
        first = _conv(self.views, (self.channels, self.mid_channels), 3, (self.grid, half))
        second = _conv(self.views, (self.mid_channels, self.out_channels), 3, (half, quarter))
        yield Child("conv1", first, reads=(x,), writes=(a,))
        yield Child("conv2", second, reads=(a,), writes=(y,))


@layer
class UnlimitedOcrSamVisionEncoder(BaseLayer):
    """SAM ViT-B with a neck: a view becomes a map of (g/4)² features."""

    source = SOURCE
    rationale = Rationale(
        counted="Patch embedding, positions, every layer, neck, both downsampling convolutions.",
        not_counted="Decoding, resizing and normalising the page's image on the host.",
        assumed="All views of one call run as one batch; weights are read once a call.",
        would_change="Position tables are resized only for views that are not of the trained side.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches a side", "patches")
    in_channels: Quantity = dim("C_in", "colour channels")
    patch: Quantity = dim("p", "side of a patch", "px")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    window: Quantity = dim("w", "side of an attention window", "tokens")
    table_side: Quantity = dim("t", "side of the trained position table", "patches")
    neck_channels: Quantity = dim("C_n", "channels of the neck")
    mid_channels: Quantity = dim("C_2", "channels after the first downsampling")
    out_channels: Quantity = dim("C_3", "channels after the second")
    depth: int
    global_layers: tuple[int, ...]
    padded: bool
    partitioned: bool
    resize: bool
    single_view: bool

    def parameters(self) -> Iterator[Parameter]:
        width = self.heads * self.head_dim
        yield Parameter("pos_embed", (1, self.table_side, self.table_side, width))

    def forward(self) -> Iterator[Part]:
        width, pixels = self.heads * self.head_dim, self.views * self.grid**2
        patches, x, y = (Tensor(n, pixels * width) for n in ("patches", "x", "layers(x)"))
        narrow = Tensor("neck(y)", pixels * self.neck_channels)
        side = ceil_div(ceil_div(self.grid, 2), 2)
        features = Tensor("features", self.views * side**2 * self.out_channels)
        embed = UnlimitedOcrSamPatchEmbeddings(
            views=self.views,
            in_channels=self.in_channels,
            width=width,
            patch=self.patch,
            grid=self.grid,
        )
        neck = UnlimitedOcrSamVisionNeck(
            views=self.views, grid=self.grid, width=width, channels=self.neck_channels
        )
        proj = UnlimitedOcrSamVisionProj(
            views=self.views,
            grid=self.grid,
            channels=self.neck_channels,
            mid_channels=self.mid_channels,
            out_channels=self.out_channels,
        )
        seen = Tensor("pixels", self.views * (self.patch * self.grid) ** 2 * self.in_channels)
        yield Child("patch_embed", embed, reads=(seen,), writes=(patches,))
        positions = Tensor("pos_embed", self.table_side**2 * width, role="weight")
        if self.resize:
            yield from resize_table(self.table_side, self.grid, width, positions, "positions")
            positions = Tensor("positions", self.grid**2 * width)
        yield Operation(
            "patches + positions",
            "embedding",
            elementwise_flops=patches.elements,
            reads=(patches, positions),
            writes=(x,),
        )
        layers = ModuleList(items=tuple(self._layers()))
        yield Child("layers", layers, reads=(x,), writes=(y,))
        yield Child("neck", neck, reads=(y,), writes=(narrow,))
        yield Child("proj", proj, reads=(narrow,), writes=(features,))

    def _layers(self) -> Iterator[Child]:
        in_windows = [i for i in range(self.depth) if i not in self.global_layers]
        common: dict[str, Any] = {
            "views": self.views,
            "grid": self.grid,
            "heads": self.heads,
            "head_dim": self.head_dim,
            "mlp_hidden": self.mlp_hidden,
        }
        if in_windows:
            windowed = WindowSamLayer(
                window=self.window,
                padded=self.padded,
                partitioned=self.partitioned,
                single=self.single_view and not self.partitioned,
                **common,
            )
            yield Child(indices(in_windows), windowed, len(in_windows), "for")
        if self.global_layers:
            whole = GlobalSamLayer(table_side=self.table_side, single=self.single_view, **common)
            yield Child(indices(self.global_layers), whole, len(self.global_layers), "for")
