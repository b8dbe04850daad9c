"""Unlimited-OCR's SAM tower as a whole: patches, layers, neck and downsampling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import LayerNorm
from mkdocs_dsocr.layers.builtin.conv2d import conv
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.sam import (
    GlobalSamLayer,
    UnlimitedOcrSamLayerNorm,
    UnlimitedOcrSamPatchEmbeddings,
    WindowSamLayer,
)
from mkdocs_dsocr.layers.vision.image_encoder import ImageEncoderViT, narrow_map
from mkdocs_dsocr.quantities import Quantity, ceil_div


@layer
class UnlimitedOcrSamVisionNeck(BaseLayer):
    """Two convolutions that narrow the map, each with a norm over its channels."""

    source = SOURCE
    rationale = Rationale(
        counted="Both convolutions and both norms.",
        not_counted="Permutations: views.",
        assumed="Each is a separate kernel.",
        would_change="The view's side: work grows with its square.",
    )

    norm: ClassVar[type[LayerNorm]] = UnlimitedOcrSamLayerNorm

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "side of the map", "pixels")
    width: Quantity = dim("d", "channels before", "elements")
    channels: Quantity = dim("C_n", "channels after", "elements")

    def forward(self) -> Iterator[Step]:
        norm = self.norm(rows=self.views * self.grid**2, width=self.channels)
        names = ("conv1", "layer_norm1", "conv2", "layer_norm2")
        yield from narrow_map(self.views, self.grid, self.width, self.channels, norm, names)


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

    def forward(self) -> Iterator[Step]:
        half, quarter = ceil_div(self.grid, 2), ceil_div(ceil_div(self.grid, 2), 2)
        x = Tensor("x", self.views * self.grid**2 * self.channels)
        a = Tensor("a", self.views * half**2 * self.mid_channels)
        y = Tensor("y", self.views * quarter**2 * self.out_channels)
        first = conv(self.views, (self.channels, self.mid_channels), 3, (self.grid, half))
        second = conv(self.views, (self.mid_channels, self.out_channels), 3, (half, quarter))
        yield Child("conv1", first, reads=(x,), writes=(a,))
        yield Child("conv2", second, reads=(a,), writes=(y,))


@layer
class UnlimitedOcrSamVisionEncoder(ImageEncoderViT):
    """SAM ViT-B with a neck: a view becomes a map of (g/4)² features."""

    source = SOURCE
    embedding = UnlimitedOcrSamPatchEmbeddings
    kinds = (WindowSamLayer, GlobalSamLayer)
    stack = "layers"
    always_resizes = True
    neck: ClassVar[type[UnlimitedOcrSamVisionNeck]] = UnlimitedOcrSamVisionNeck
    proj: ClassVar[type[UnlimitedOcrSamVisionProj]] = UnlimitedOcrSamVisionProj

    def _downsample(self, y: Tensor) -> Iterator[Step]:
        narrow = Tensor("neck(y)", self.views * self.grid**2 * self.neck_channels)
        side = ceil_div(ceil_div(self.grid, 2), 2)
        features = Tensor("features", self.views * side**2 * self.out_channels)
        width, channels = self.heads * self.head_dim, self.neck_channels
        neck = self.inner(self.neck, width=width, channels=channels)
        proj = self.inner(self.proj, channels=channels)
        yield Child("neck", neck, reads=(y,), writes=(narrow,))
        yield Child("proj", proj, reads=(narrow,), writes=(features,))
