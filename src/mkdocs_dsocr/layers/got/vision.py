"""GOT-OCR-2.0's vision tower, SAM, and the projector behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.builtin.conv2d import conv
from mkdocs_dsocr.layers.got.attention import GotOcr2VisionAttention
from mkdocs_dsocr.layers.got.names import SOURCE
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer, renamed
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.unlimited import sam as unlimited
from mkdocs_dsocr.layers.unlimited.sam_encoder import UnlimitedOcrSamVisionNeck
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.image_encoder import ImageEncoderViT, SamTower
from mkdocs_dsocr.quantities import Quantity, ceil_div


def _own(kind: type[Any], name: str, **own: Any) -> type[Any]:
    return renamed(kind, f"GotOcr2{name}", __name__, source=SOURCE, **own)


GotOcr2LayerNorm: Final = _own(unlimited.UnlimitedOcrSamLayerNorm, "LayerNorm")
GotOcr2MLPBlock: Final = _own(unlimited.UnlimitedOcrSamMLPBlock, "MLPBlock")
GotOcr2PatchEmbeddings: Final = _own(unlimited.UnlimitedOcrSamPatchEmbeddings, "PatchEmbeddings")
GotOcr2VisionNeck: Final = _own(UnlimitedOcrSamVisionNeck, "VisionNeck", norm=GotOcr2LayerNorm)


class _Layer:
    """What is GOT-OCR-2.0's own in both kinds of SAM's layers."""

    module_class: ClassVar[str] = "GotOcr2VisionLayer"
    source: ClassVar[str] = SOURCE
    attention: ClassVar[type[Attention]] = GotOcr2VisionAttention
    mlp: ClassVar[Any] = GotOcr2MLPBlock

    def _returned(self) -> tuple[Tensor, ...]:
        attention: GotOcr2VisionAttention = self._attention()  # type: ignore[attr-defined]
        return (attention.weights,)


@layer
class GlobalGotLayer(_Layer, unlimited.GlobalSamLayer):
    """SAM's pre-norm layer that attends over all g² tokens of a view."""


@layer
class WindowGotLayer(_Layer, unlimited.WindowSamLayer):
    """SAM's pre-norm layer that attends within windows of w×w tokens.

    The grid is padded with zeros to whole windows, by a copy also where there is nothing to
    add; the padding is cut off after the attention.
    """


@layer
class GotOcr2VisionEncoder(SamTower):
    """SAM ViT-B with a neck: a view becomes a map of g² features."""

    source = SOURCE
    rationale = ImageEncoderViT.rationale._replace(
        counted="Patch embedding, positions, every layer, the neck.",
        would_change="Nothing: the table of positions has one size, and every view that of the "
        "table.",
    )
    embedding = GotOcr2PatchEmbeddings
    kinds = (WindowGotLayer, GlobalGotLayer)
    stack = "layers"
    always_resizes = True

    @property
    def pixels(self) -> Tensor:
        """What it is given."""
        return Tensor("pixels", self.views * (self.patch * self.grid) ** 2 * self.in_channels)

    @property
    def features(self) -> Tensor:
        """What it returns."""
        return Tensor("features", self.views * self.grid**2 * self.neck_channels)

    def _downsample(self, y: Tensor) -> Iterator[Step]:
        width = self.heads * self.head_dim
        neck = self.inner(GotOcr2VisionNeck, width=width, channels=self.neck_channels)
        yield Child("neck", neck, reads=(y,), writes=(self.features,))


@layer
class GotOcr2MultiModalProjector(BaseLayer):
    """Two convolutions that each halve the map's side, and a linear."""

    source = SOURCE
    rationale = Rationale(
        counted="Both convolutions and the linear.",
        not_counted="The permutation to channels-last: a view.",
        assumed="Positions in the zero padding count in full.",
        would_change="The view's side: work grows with its square.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "side of the map", "pixels")
    channels: Quantity = dim("C_n", "channels of the map", "elements")
    mid_channels: Quantity = dim("C_2", "channels after the first convolution", "elements")
    hidden_size: Quantity = dim("h", "hidden size of the decoder", "elements")

    @property
    def tokens(self) -> Tensor:
        """What it returns."""
        quarter = ceil_div(ceil_div(self.grid, 2), 2)
        return Tensor("tokens", self.views * quarter**2 * self.hidden_size)

    def forward(self) -> Iterator[Step]:
        half, quarter = ceil_div(self.grid, 2), ceil_div(ceil_div(self.grid, 2), 2)
        rows = self.views * quarter**2
        x = Tensor("features", self.views * self.grid**2 * self.channels)
        a = Tensor("a", self.views * half**2 * self.mid_channels)
        b = Tensor("b", rows * self.hidden_size)
        first = conv(self.views, (self.channels, self.mid_channels), 3, (self.grid, half))
        second = conv(self.views, (self.mid_channels, self.hidden_size), 3, (half, quarter))
        linear = Linear(rows=rows, d_in=self.hidden_size, d_out=self.hidden_size, bias=True)
        yield Child("conv_upsampler1", first, reads=(x,), writes=(a,))
        yield Child("conv_upsampler2", second, reads=(a,), writes=(b,))
        yield Child("multimodal_projector", linear, reads=(b,), writes=(self.tokens,))
