"""SAM's transformer blocks: attention within windows, or over the whole view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkdocs_dsocr.layers.base import BaseLayer, Rationale, dim, layer
from mkdocs_dsocr.layers.builtin import LayerNorm
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, residual
from mkdocs_dsocr.layers.parts import Child, Part
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.mlp import MLPBlock
from mkdocs_dsocr.quantities import Quantity, ceil_div

BLOCK = (
    "SAM's pre-norm transformer block: attention over the whole view or within windows, then an "
    "MLP, each with a residual."
)


def _block(block: GlobalBlock | WindowBlock, attend: Iterable[Part]) -> Iterator[Part]:
    """Yield what both kinds of block share: norms, residuals and the MLP around `attend`."""
    width, rows = block.heads * block.head_dim, block.views * block.grid**2
    names = ("x", "norm1(x)", "attn(norm1(x))", "y", "norm2(y)", "mlp(norm2(y))", "z")
    x, normed, attended, y, normed_y, mapped, z = (Tensor(n, rows * width) for n in names)
    norm = LayerNorm(rows=rows, width=width)
    mlp = MLPBlock(rows=rows, width=width, hidden=block.mlp_hidden)
    yield Child("norm1", norm, reads=(x,), writes=(normed,))
    yield from attend
    yield residual(x, attended, y, "x + attn(norm1(x))")
    yield Child("norm2", norm, reads=(y,), writes=(normed_y,))
    yield Child("mlp", mlp, reads=(normed_y,), writes=(mapped,))
    yield residual(y, mapped, z, "y + mlp(norm2(y))")


@layer
class GlobalBlock(BaseLayer):
    """SAM's pre-norm block that attends over all g² tokens of a view."""

    module_class = "Block"
    definition = BLOCK
    source = "deepencoder.Block (SAM ViT-B), blocks 2, 5, 8 and 11"
    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Attention grows with g⁴, everything else with g².",
        would_change="The view's side: attention falls with its fourth power.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches a side", "patches")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    resize: bool = False
    single: bool = False

    def forward(self) -> Iterator[Part]:
        elements = self.views * self.grid**2 * self.heads * self.head_dim
        attention = Attention(
            windows=self.views,
            side=self.grid,
            heads=self.heads,
            head_dim=self.head_dim,
            table_side=self.table_side,
            resize=self.resize,
            single=self.single,
        )
        normed, attended = (Tensor(n, elements) for n in ("norm1(x)", "attn(norm1(x))"))
        attend = Child("attn", attention, reads=(normed,), writes=(attended,))
        yield from _block(self, (attend,))


@layer
class WindowBlock(BaseLayer):
    """SAM's pre-norm block that attends within windows of w×w tokens.

    The grid is padded with zeros to whole windows; the padding is cut off after
    the attention.
    """

    module_class = "Block"
    definition = BLOCK
    source = "deepencoder.Block (SAM ViT-B), the blocks that are not global"
    rationale = Rationale(
        counted="Attention over whole windows, padding tokens included; norms, MLP and residual "
        "additions over the g² real tokens.",
        not_counted="Fusion of the partition's copies with their neighbours.",
        assumed="Padding, partition and its reversal are copies of their own.",
        would_change="A grid that is a multiple of the window needs no padding.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches a side", "patches")
    window: Quantity = dim("w", "side of a window", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    padded: bool = True
    partitioned: bool = True
    single: bool = False

    def forward(self) -> Iterator[Part]:
        yield from _block(self, self._in_windows())

    def _in_windows(self) -> Iterator[Operation | Child]:
        """Yield the attention and the copies before and after it."""
        width = self.heads * self.head_dim
        elements = self.views * self.grid**2 * width
        windows = self.views * ceil_div(self.grid, self.window) ** 2
        inside = windows * self.window**2 * width
        attention = Attention(
            windows=windows,
            side=self.window,
            heads=self.heads,
            head_dim=self.head_dim,
            table_side=self.window,
            single=self.single,
        )
        x, last = Tensor("norm1(x)", elements), Tensor("attn(norm1(x))", elements)
        if self.padded:
            x, source = Tensor("padded", inside), x
            yield copy("pad the grid", source, x, "Zeros up to the next multiple of the window.")
        if self.partitioned:
            x, source = Tensor("windows", inside), x
            yield copy("partition into windows", source, x)
        out = Tensor("attended", inside) if self.padded or self.partitioned else last
        yield Child("attn", attention, reads=(x,), writes=(out,))
        if self.partitioned:
            out, source = (Tensor("grid", inside) if self.padded else last), out
            yield copy("windows back to the grid", source, out)
        if self.padded:
            # What is cut off is not read.
            yield copy("cut the padding off", Tensor("inside", elements, view_of=out.name), last)
