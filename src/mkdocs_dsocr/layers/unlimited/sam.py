"""Unlimited-OCR's SAM tower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.base import BaseLayer, Rationale, dim, layer
from mkdocs_dsocr.layers.builtin import GELU, Conv2d, LayerNorm, Linear
from mkdocs_dsocr.layers.operations import Operation, Product, Tensor, copy, keep, residual
from mkdocs_dsocr.layers.parts import Child, Parameter, Part
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.vision import MLPBlock
from mkdocs_dsocr.quantities import Quantity, ceil_div


@layer
class GELUActivation(GELU):
    """Gaussian error linear unit, exact: 0.5 x (1 + erf(x / √2))."""

    source = "transformers 5.23.0, activations.py"


@layer
class UnlimitedOcrSamMLPBlock(MLPBlock):
    """SAM's feed-forward block: widen, GELU, narrow."""

    source = SOURCE
    activation: ClassVar[type[GELU]] = GELUActivation


@layer
class UnlimitedOcrSamLayerNorm(LayerNorm):
    """Normalise the channels of every pixel; the permutations around it are views."""

    source = SOURCE


@layer
class UnlimitedOcrSamVisionSdpaAttention(BaseLayer):
    """SAM's multi-head attention over a square of tokens, with relative positions.

    The tables of relative positions are resized at every call, also to the size that they have,
    and distances are computed in float32.
    """

    source = SOURCE
    rationale = Rationale(
        counted="All pairs of the n² tokens, padding tokens of a window included; the bias is "
        "materialised twice: added, then copied into the order of the queries.",
        not_counted="Copies after SDPA: its kernel writes [B, n², H, d], so merging the heads "
        "is a view.",
        assumed="SDPA is one kernel that keeps scores on chip and reads the bias from DRAM.",
        would_change="Computing the bias inside the attention kernel would save n⁴ elements of "
        "traffic a head, twice.",
    )

    windows: Quantity = dim("B", "squares of tokens: windows, or whole views")
    side: Quantity = dim("n", "side of a square", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    single: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("rel_pos_h", (2 * self.table_side - 1, self.head_dim))
        yield Parameter("rel_pos_w", (2 * self.table_side - 1, self.head_dim))

    def forward(self) -> Iterator[Part]:
        width = self.heads * self.head_dim
        tokens = self.windows * self.side**2
        elements = tokens * width
        rows = self.windows * self.heads * self.side**2
        pairs = rows * self.side**2
        x, y, attended = (Tensor(n, elements) for n in ("x", "y", "o"))
        qkv, part_of = Tensor("qkv", 3 * elements), "qkv" if self.single else ""
        q, kv = (Tensor(n, k * elements, view_of=part_of) for n, k in (("q", 1), ("kv", 2)))
        project = Linear(rows=tokens, d_in=width, d_out=3 * width, bias=True)
        yield Child("qkv", project, reads=(x,), writes=(qkv,))
        if not self.single:
            why = "The permutation to [3, B·H, n², d] is made contiguous; a single square's is a "
            yield Operation(
                "split q, k, v by head", "copy", reads=(qkv,), writes=(q, kv), why=f"{why}view."
            )
        for axis in ("h", "w"):
            yield from self._table(axis)
        for axis in ("h", "w"):
            yield from self._relative_scores(axis, q, rows)
        rel_h, rel_w = (Tensor(f"rel_{axis}", rows * self.side) for axis in ("h", "w"))
        summed, bias = Tensor("rel_h + rel_w", pairs), Tensor("bias", pairs)
        yield Operation(
            "rel_h + rel_w",
            "attention",
            elementwise_flops=pairs,
            reads=(rel_h, rel_w),
            writes=(summed,),
            kernel="bias",
            why="Broadcast to every pair of tokens: the largest tensor of the layer.",
        )
        yield keep(rel_h, rel_w)
        why = "The sum lies as the products do: row by row."
        yield Operation(
            "bias in the order of the queries",
            "copy",
            reads=(summed,),
            writes=(bias,),
            kernel="bias",
            why=why,
        )
        yield Operation(
            "scaled dot-product attention",
            "attention",
            products=(
                Product(rows, self.head_dim, self.side**2, self.windows * self.heads),
                Product(rows, self.side**2, self.head_dim, self.windows * self.heads),
            ),
            elementwise_flops=(costs.SOFTMAX + 1) * pairs,
            unit="tensor",
            reads=(q, kv, bias),
            writes=(attended,),
            saves=(q, kv, bias, attended, Tensor("log-sum-exp", rows, "float32")),
            recomputes=True,
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the bias's addition "
            "for each pair.",
        )
        proj = Linear(rows=tokens, d_in=width, d_out=width, bias=True)
        yield Child("proj", proj, reads=(attended,), writes=(y,))
        yield keep(qkv, q, kv, bias)

    def _relative_scores(self, axis: str, q: Tensor, rows: Quantity) -> Iterator[Operation]:
        """Yield the product of the queries with one axis's relative positions."""
        if axis == "h" or self.single:
            source, q = q, Tensor(f"q along {axis}", q.elements)
            yield copy(q.name, source, q, "The batched product runs over the places of an axis.")
        yield Operation(
            f"q · R_{axis}",
            "attention",
            products=(Product(rows, self.head_dim, self.side, self.side),),
            unit="tensor",
            reads=(q, Tensor(f"R_{axis}", self.side**2 * self.head_dim)),
            writes=(Tensor(f"rel_{axis}", rows * self.side),),
            why="Each query meets the n relative positions of its row or column.",
        )

    def _table(self, axis: str) -> Iterator[Part]:
        """Yield the resize and the gather of one axis's relative positions."""
        pairs, kernel = self.side**2, f"table {axis}"
        entries = (2 * self.side - 1) * self.head_dim
        table = Tensor(f"rel_pos_{axis}", (2 * self.table_side - 1) * self.head_dim, role="weight")
        resized = Tensor(f"resized_{axis}", entries)
        names = ("rows", "columns")
        places = [Tensor(f"{n}_{axis}", self.side, "int64") for n in names]
        scaled = [Tensor(f"{n}_{axis} as float32", self.side, "float32") for n in names]
        difference, shifted = (
            Tensor(f"{n}_{axis}", pairs, "float32") for n in ("i − j", "i − j + n − 1")
        )
        index = Tensor(f"index_{axis}", pairs, "int64")
        picked = Tensor(f"picked_{axis}", pairs * self.head_dim, view_of=resized.name)
        steps: list[tuple[str, str, Quantity, tuple[Tensor, ...], Tensor]] = [
            ("resize", "interpolation", 2 * costs.MULTIPLY_ADD * entries, (table,), resized),
        ]
        for name, place, scale in zip(names, places, scaled, strict=True):
            steps += [
                (name, "embedding", 0, (), place),
                (f"{name} × 1", "embedding", self.side, (place,), scale),
            ]
        steps += [
            ("i − j", "embedding", pairs, tuple(scaled), difference),
            ("i − j + n − 1", "embedding", pairs, (difference,), shifted),
            ("as int64", "copy", 0, (shifted,), index),
            ("gather", "embedding", 0, (index, picked), Tensor(f"R_{axis}", pairs * self.head_dim)),
        ]
        for name, category, flops, reads, write in steps:
            yield Operation(
                f"{name} on axis {axis}",
                category,
                elementwise_flops=flops,
                reads=reads,
                writes=(write,),
                saves=(index,) if name == "gather" else (),
                kernel=kernel,
            )
            if name == "i − j + n − 1":
                yield keep(*scaled)
        yield keep(resized)


@layer
class _SamLayer(BaseLayer):
    """What both kinds of SAM's layers share: norms, residuals and the MLP."""

    module_class = "UnlimitedOcrSamVisionLayer"
    definition = (
        "SAM's pre-norm transformer layer: attention over the whole view or within windows, then "
        "an MLP, each with a residual."
    )
    source = SOURCE

    views: Quantity = dim("B", "views in the batch", "views")
    grid: Quantity = dim("g", "patches a side", "patches")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")

    def _around(self, attend: Iterable[Part]) -> Iterator[Part]:
        width, rows = self.heads * self.head_dim, self.views * self.grid**2
        names = ("x", "norm1(x)", "attn(norm1(x))", "y", "norm2(y)", "mlp(norm2(y))", "z")
        x, normed, attended, y, normed_y, mapped, z = (Tensor(n, rows * width) for n in names)
        norm = LayerNorm(rows=rows, width=width)
        mlp = UnlimitedOcrSamMLPBlock(rows=rows, width=width, hidden=self.mlp_hidden)
        yield Child("layer_norm1", norm, reads=(x,), writes=(normed,))
        yield from attend
        yield residual(x, attended, y, "x + attn(norm1(x))")
        yield Child("layer_norm2", norm, reads=(y,), writes=(normed_y,))
        yield Child("mlp", mlp, reads=(normed_y,), writes=(mapped,))
        yield residual(y, mapped, z, "y + mlp(norm2(y))")
        yield keep(normed_y)


@layer
class GlobalSamLayer(_SamLayer):
    """SAM's pre-norm layer that attends over all g² tokens of a view."""

    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Attention grows with g⁴, everything else with g².",
        would_change="The view's side: attention falls with its fourth power.",
    )

    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    single: bool = False

    def forward(self) -> Iterator[Part]:
        elements = self.views * self.grid**2 * self.heads * self.head_dim
        attention = UnlimitedOcrSamVisionSdpaAttention(
            windows=self.views,
            side=self.grid,
            heads=self.heads,
            head_dim=self.head_dim,
            table_side=self.table_side,
            single=self.single,
        )
        normed, attended = (Tensor(n, elements) for n in ("norm1(x)", "attn(norm1(x))"))
        yield from self._around((Child("attn", attention, reads=(normed,), writes=(attended,)),))


@layer
class WindowSamLayer(_SamLayer):
    """SAM's pre-norm layer that attends within windows of w×w tokens.

    The grid is padded with zeros to whole windows; the padding is cut off after the attention.
    """

    rationale = Rationale(
        counted="Attention over whole windows, padding tokens included; norms, MLP and residual "
        "additions over the g² real tokens.",
        not_counted="Fusion of the partition's copies with their neighbours.",
        assumed="Padding, partition and its reversal are copies of their own.",
        would_change="A grid that is a multiple of the window is copied all the same; nothing is "
        "cut off after it.",
    )

    window: Quantity = dim("w", "side of a window", "tokens")
    padded: bool = True
    partitioned: bool = True
    single: bool = False

    def forward(self) -> Iterator[Part]:
        yield from self._around(self._in_windows())

    def _in_windows(self) -> Iterator[Part]:
        width = self.heads * self.head_dim
        elements = self.views * self.grid**2 * width
        windows = self.views * ceil_div(self.grid, self.window) ** 2
        inside = windows * self.window**2 * width
        attention = UnlimitedOcrSamVisionSdpaAttention(
            windows=windows,
            side=self.window,
            heads=self.heads,
            head_dim=self.head_dim,
            table_side=self.window,
            single=self.single,
        )
        x, last = Tensor("norm1(x)", elements), Tensor("attn(norm1(x))", elements)
        x, source = Tensor("padded", inside), x
        why = "Zeros up to the next multiple of the window; a copy also where there is none to add."
        yield copy("pad the grid", source, x, why)
        if self.partitioned:
            x, source = Tensor("windows", inside), x
            yield copy("partition into windows", source, x)
        out = Tensor("attended", inside) if self.padded or self.partitioned else last
        yield Child("attn", attention, reads=(x,), writes=(out,))
        if self.partitioned:
            out, source = (Tensor("grid", inside) if self.padded else last), out
            yield copy("windows back to the grid", source, out)
            yield keep(source)
        if self.padded:
            yield copy("cut the padding off", Tensor("inside", elements, view_of=out.name), last)


@layer
class UnlimitedOcrSamPatchEmbeddings(BaseLayer):
    """Cut each view into square patches and map every patch to a vector."""

    source = SOURCE
    rationale = Rationale(
        counted="The convolution.",
        not_counted="The permutation to channels-last: a view.",
        assumed="Patches do not overlap, so each pixel is read once.",
        would_change="The view's side: work grows with its square.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    in_channels: Quantity = dim("C_in", "colour channels")
    width: Quantity = dim("d", "width of a patch's vector", "elements")
    patch: Quantity = dim("p", "side of a patch", "px")
    grid: Quantity = dim("g", "patches a side", "patches")

    def forward(self) -> Iterator[Part]:
        side = self.patch * self.grid
        conv = Conv2d(
            views=self.views,
            in_channels=self.in_channels,
            out_channels=self.width,
            kernel=self.patch,
            side_in=side,
            side_out=self.grid,
            bias=True,
            of_pixels=True,
        )
        pixels = Tensor("pixels", self.views * side**2 * self.in_channels)
        patches = Tensor("patches", self.views * self.grid**2 * self.width)
        yield Child("projection", conv, reads=(pixels,), writes=(patches,))
