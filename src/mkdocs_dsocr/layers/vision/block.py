"""SAM's transformer blocks: attention within windows, or over the whole view."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.base import BaseLayer, Child, Rationale, dim, layer
from mkdocs_dsocr.layers.builtin import LayerNorm
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, residual
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.mlp import MLPBlock
from mkdocs_dsocr.quantities import Quantity, ceil_div

BLOCK = (
    "SAM's pre-norm transformer block: attention over the whole view or within windows, then an "
    "MLP, each with a residual."
)


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

    def forward(self) -> Iterator[Operation | Child]:
        width = self.heads * self.head_dim
        tokens = self.views * self.grid**2
        yield Child("norm1", LayerNorm(rows=tokens, width=width))
        yield Child("attn", self._attention())
        yield residual(tokens * width, "x + attn(norm1(x))")
        yield Child("norm2", LayerNorm(rows=tokens, width=width))
        yield Child("mlp", MLPBlock(rows=tokens, width=width, hidden=self.mlp_hidden))
        yield residual(tokens * width, "x + mlp(norm2(x))")

    def _attention(self) -> Attention:
        return Attention(
            windows=self.views,
            side=self.grid,
            heads=self.heads,
            head_dim=self.head_dim,
            table_side=self.table_side,
            resize=self.resize,
            single=self.single,
        )


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

    def forward(self) -> Iterator[Operation | Child]:
        width = self.heads * self.head_dim
        tokens = self.views * self.grid**2
        windows = self.views * ceil_div(self.grid, self.window) ** 2
        inside = windows * self.window**2 * width
        yield Child("norm1", LayerNorm(rows=tokens, width=width))
        if self.padded:
            yield Operation(
                "pad the grid",
                "copy",
                reads=(Tensor("n", tokens * width),),
                writes=(Tensor("padded", inside),),
                why="Zeros up to the next multiple of the window.",
            )
        if self.partitioned:
            yield copy("partition into windows", inside)
        yield Child(
            "attn",
            Attention(
                windows=windows,
                side=self.window,
                heads=self.heads,
                head_dim=self.head_dim,
                table_side=self.window,
                single=self.single,
            ),
        )
        if self.partitioned:
            yield copy("windows back to the grid", inside)
        if self.padded:
            yield copy("cut the padding off", tokens * width)
        yield residual(tokens * width, "x + attn(norm1(x))")
        yield Child("norm2", LayerNorm(rows=tokens, width=width))
        yield Child("mlp", MLPBlock(rows=tokens, width=width, hidden=self.mlp_hidden))
        yield residual(tokens * width, "x + mlp(norm2(x))")
