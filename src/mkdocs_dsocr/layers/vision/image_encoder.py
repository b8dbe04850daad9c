"""ImageEncoderViT: the SAM tower with its neck."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import ModuleList, Sequential
from mkdocs_dsocr.layers.builtin.conv2d import conv
from mkdocs_dsocr.layers.layer import Child, Layer, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.vision.block import GlobalBlock, WindowBlock
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.layers.vision.layer_norm2d import LayerNorm2d
from mkdocs_dsocr.layers.vision.patch_embed import PatchEmbed
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity, ceil_div


@layer
class SamTower(BaseLayer):
    """SAM ViT-B: patches, positions, blocks with attention in windows or over the whole view."""

    embedding: ClassVar[type[PatchEmbed]] = PatchEmbed
    kinds: ClassVar[tuple[type[WindowBlock], type[GlobalBlock]]] = (WindowBlock, GlobalBlock)
    stack: ClassVar[str] = "blocks"
    """Name of the list of blocks."""
    always_resizes: ClassVar[bool] = False
    """Whether relative positions are resized whatever the size is: then it is no choice."""

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches per side", "patches")
    in_channels: Quantity = dim("C_in", "colour channels")
    patch: Quantity = dim("p", "side of a patch", "px")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    window: Quantity = dim("w", "side of an attention window", "tokens")
    table_side: Quantity = dim("t", "side of the trained position table", "patches")
    neck_channels: Quantity = dim("C_n", "channels of the neck")
    depth: int
    global_blocks: tuple[int, ...]
    padded: bool
    partitioned: bool
    resize: bool
    single_view: bool

    def parameters(self) -> Iterator[Parameter]:
        width = self.heads * self.head_dim
        yield Parameter("pos_embed", (1, self.table_side, self.table_side, width))

    def forward(self) -> Iterator[Step]:
        width = self.heads * self.head_dim
        elements = self.views * self.grid**2 * width
        pixels = Tensor("pixels", self.views * (self.patch * self.grid) ** 2 * self.in_channels)
        patches, x, y = (Tensor(n, elements) for n in ("patches", "x", f"{self.stack}(x)"))
        embed = self.inner(self.embedding, width=width)
        yield Child("patch_embed", embed, reads=(pixels,), writes=(patches,))
        positions = Tensor("pos_embed", self.table_side**2 * width, role="weight")
        if self.resize:
            yield from resize_table(self.table_side, self.grid, width, positions, "positions")
            positions = Tensor("positions", self.grid**2 * width)
        both = (patches, positions)
        name = "patches + positions"
        yield elementwise(name, elements, both, x, category="embedding", pattern="per element")
        blocks = ModuleList(items=tuple(self._blocks()))
        yield Child(self.stack, blocks, reads=(x,), writes=(y,))
        yield from self._downsample(y)

    def _downsample(self, y: Tensor) -> Iterator[Step]:
        """Yield what makes features of the map that leaves the blocks."""
        raise NotImplementedError

    def _blocks(self) -> Iterator[Child]:
        windowed, whole = self.kinds
        in_windows = [i for i in range(self.depth) if i not in self.global_blocks]
        if in_windows:
            single = self.single_view and not self.partitioned
            block: BaseLayer = self.inner(windowed, single=single)
            yield Child(indices(in_windows), block, len(in_windows), "for")
        if self.global_blocks:
            resize = self.resize and not self.always_resizes
            block = self.inner(whole, resize=resize, single=self.single_view)
            yield Child(indices(self.global_blocks), block, len(self.global_blocks), "for")


@layer
class ImageEncoderViT(SamTower):
    """SAM ViT-B with a neck: a view becomes a map of (g/4)² features.

    Patches, positions, blocks with attention in windows or over the whole view,
    then four convolutions that narrow the map and halve it twice.
    """

    source = "deepencoder.ImageEncoderViT (SAM ViT-B)"
    rationale = Rationale(
        counted="Patch embedding, positions, every block, neck, both downsampling convolutions.",
        not_counted="Decoding, resizing and normalising the page's image on the host.",
        assumed="All views of one call run as one batch; weights are read once per call.",
        would_change="Position tables are resized only for views that are not of the trained side.",
    )

    mid_channels: Quantity = dim("C_2", "channels after net_2")
    out_channels: Quantity = dim("C_3", "channels after net_3")

    def _downsample(self, y: Tensor) -> Iterator[Step]:
        half, quarter = ceil_div(self.grid, 2), ceil_div(ceil_div(self.grid, 2), 2)
        narrow = Tensor("neck(y)", self.views * self.grid**2 * self.neck_channels)
        halved, cloned = (
            Tensor(n, self.views * half**2 * self.mid_channels) for n in ("net_2(y)", "clone")
        )
        features = Tensor("features", self.views * quarter**2 * self.out_channels)
        net_2 = conv(self.views, (self.neck_channels, self.mid_channels), 3, (self.grid, half))
        net_3 = conv(self.views, (self.mid_channels, self.out_channels), 3, (half, quarter))
        norm = LayerNorm2d(views=self.views, channels=self.neck_channels, side=self.grid)
        width = self.heads * self.head_dim
        sizes = (self.views, self.grid, width, self.neck_channels)
        neck = Sequential(items=tuple(narrow_map(*sizes, norm, ("0", "1", "2", "3"))))
        yield Child("neck", neck, reads=(y,), writes=(narrow,))
        yield Child("net_2", net_2, reads=(narrow,), writes=(halved,))
        why = "The model clones net_2's output before net_3 reads it."
        yield copy("clone", halved, cloned, why)
        yield Child("net_3", net_3, reads=(cloned,), writes=(features,))
        yield keep(halved)


def narrow_map(
    views: Quantity,
    side: Quantity,
    width: Quantity,
    channels: Quantity,
    norm: Layer,
    names: tuple[str, str, str, str],
) -> Iterator[Child]:
    """Yield the neck: two convolutions that narrow a map, each with a norm over its channels.

    Parameters
    ----------
    views, side
        Maps, and pixels along each of their sides.
    width, channels
        Channels before and after.
    norm
        The norm; both are alike.
    names
        Module names, in order.
    """
    pixels = views * side**2
    x = Tensor("x", pixels * width)
    a, b, c, y = (Tensor(n, pixels * channels) for n in ("a", "b", "c", "y"))
    first = conv(views, (width, channels), 1, (side, side))
    second = conv(views, (channels, channels), 3, (side, side))
    layers, tensors = (first, norm, second, norm), ((x, a), (a, b), (b, c), (c, y))
    for name, layer_, (read, write) in zip(names, layers, tensors, strict=True):
        yield Child(name, layer_, reads=(read,), writes=(write,))
