"""SAM's transformer blocks: attention within windows, or over the whole view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import LayerNorm
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, copy, keep
from mkdocs_dsocr.layers.prenorm import pre_norm
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.mlp import MLPBlock
from mkdocs_dsocr.quantities import Quantity, ceil_div


@layer
class _Block(BaseLayer):
    """What both kinds of block share: norms, residuals and the MLP around an attention."""

    module_class = "Block"
    definition = (
        "SAM's pre-norm transformer block: attention over the whole view or within windows, then "
        "an MLP, each with a residual."
    )

    attention: ClassVar[type[Attention]] = Attention
    mlp: ClassVar[type[MLPBlock]] = MLPBlock
    norms: ClassVar[tuple[str, str]] = ("norm1", "norm2")
    """Names of the two norms."""
    holds_norm: ClassVar[bool] = False
    """Whether the second norm's result has a name of its own, and stays to the end."""

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches per side", "patches")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    single: bool = False

    def _attend(self, x: Tensor, attended: Tensor) -> Iterator[Step]:
        """Yield the attention and the copies before and after it."""
        raise NotImplementedError

    def _attention(self) -> Attention:
        """Return the attention."""
        raise NotImplementedError

    def _returned(self) -> tuple[Tensor, ...]:
        """Return what the attention returns besides its result: it stays to the end."""
        return ()

    def forward(self) -> Iterator[Step]:
        width, rows = self.heads * self.head_dim, self.views * self.grid**2
        norm = LayerNorm(rows=rows, width=width, permuted=True)
        mlp = self.mlp(rows=rows, width=width, hidden=self.mlp_hidden)
        # One operand keeps the channels-first order of the patch embedding.
        yield from pre_norm(
            rows * width, norm, self._attend, mlp, norms=self.norms, added="strided"
        )
        if self.holds_norm:
            yield keep(Tensor("norm2(y)", rows * width), *self._returned())


@layer
class GlobalBlock(_Block):
    """SAM's pre-norm block that attends over all g² tokens of a view."""

    source = "deepencoder.Block (SAM ViT-B), blocks 2, 5, 8 and 11"
    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Attention grows with g⁴, everything else with g².",
        would_change="The view's side: attention falls with its fourth power.",
    )

    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    resize: bool = False

    def _attention(self) -> Attention:
        return self.inner(self.attention, windows=self.views, side=self.grid)

    def _attend(self, x: Tensor, attended: Tensor) -> Iterator[Step]:
        writes = (attended, *self._returned())
        yield Child("attn", self._attention(), reads=(x,), writes=writes)


@layer
class WindowBlock(_Block):
    """SAM's pre-norm block that attends within windows of w×w tokens.

    The grid is padded with zeros to whole windows; the padding is cut off after
    the attention.
    """

    source = "deepencoder.Block (SAM ViT-B), the blocks that are not global"
    rationale = Rationale(
        counted="Attention over whole windows, padding tokens included; norms, MLP and residual "
        "additions over the g² real tokens.",
        not_counted="Fusion of the partition's copies with their neighbours.",
        assumed="Padding, partition and its reversal are separate copies.",
        would_change="A grid that is a multiple of the window needs no padding.",
    )

    always_pads: ClassVar[bool] = False
    """Whether the pad is a copy also where there is nothing to add."""
    holds_windows: ClassVar[bool] = False
    """Whether the attention's result stays while it is put back into the grid."""

    window: Quantity = dim("w", "side of a window", "tokens")
    padded: bool = True
    partitioned: bool = True

    @property
    def _windows(self) -> Quantity:
        found: Quantity = self.views * ceil_div(self.grid, self.window) ** 2
        return found

    def _attention(self) -> Attention:
        sides = {"side": self.window, "table_side": self.window}
        return self.inner(self.attention, windows=self._windows, **sides)

    def _attend(self, x: Tensor, attended: Tensor) -> Iterator[Step]:
        inside = self._windows * self.window**2 * (self.heads * self.head_dim)
        if self.padded or self.always_pads:
            x, source = Tensor("padded", inside), x
            yield copy("pad the grid", source, x, "Zeros up to the next multiple of the window.")
        if self.partitioned:
            x, source = Tensor("windows", inside), x
            yield copy("partition into windows", source, x)
        out = Tensor("attended", inside) if self.padded or self.partitioned else attended
        yield Child("attn", self._attention(), reads=(x,), writes=(out, *self._returned()))
        if self.partitioned:
            out, source = (Tensor("grid", inside) if self.padded else attended), out
            yield copy("windows back to the grid", source, out)
            if self.holds_windows:
                yield keep(source)
        if self.padded:
            # What is cut off is not read.
            inner = Tensor("inside", attended.elements, view_of=out.name)
            yield copy("cut the padding off", inner, attended)
