"""SAM's attention with decomposed relative positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Linear, dot_product_attention
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity


@layer
class Attention(BaseLayer):
    """SAM's multi-head attention over a square of tokens, with relative positions.

    Two products of the queries with tables of relative rows and columns make an
    additive bias for every pair of tokens; scaled dot-product attention takes it
    as its mask.
    """

    source = "deepencoder.Attention (SAM ViT-B)"
    rationale = Rationale(
        counted="All pairs of the n² tokens, padding tokens of a window included; the bias is "
        "materialised, written once and read once.",
        not_counted="Copies after SDPA: its kernel writes [B, n², H, d], so merging the heads "
        "is a view.",
        assumed="SDPA is one kernel that keeps scores on chip and reads the bias from DRAM.",
        would_change="Computing the bias inside the attention kernel would save n⁴ elements of "
        "traffic per head; a view of another size resizes the tables first.",
    )

    transposes: ClassVar[bool] = True
    """Whether the products for the bias are put into the order of the queries one by one."""

    windows: Quantity = dim("B", "squares of tokens: windows, or whole views")
    side: Quantity = dim("n", "side of a square", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    resize: bool = False
    single: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("rel_pos_h", (2 * self.table_side - 1, self.head_dim))
        yield Parameter("rel_pos_w", (2 * self.table_side - 1, self.head_dim))

    def forward(self) -> Iterator[Step]:
        width = self.heads * self.head_dim
        tokens = self.windows * self.side**2
        elements = tokens * width
        x, y, attended = (Tensor(n, elements) for n in ("x", "y", "o"))
        qkv, part_of = Tensor("qkv", 3 * elements), "qkv" if self.single else ""
        q, kv = (Tensor(n, k * elements, view_of=part_of) for n, k in (("q", 1), ("kv", 2)))

        project = Linear(rows=tokens, d_in=width, d_out=3 * width, bias=True)
        yield Child("qkv", project, reads=(x,), writes=(qkv,))
        if not self.single:
            yield elementwise(
                "split q, k, v by head",
                0,
                (qkv,),
                q,
                kv,
                category="copy",
                pattern="per element",
                why="The permutation to [3, B·H, n², d] is made contiguous; for a single square it "
                "is a view.",
            )
        held = yield from self._attend(q, kv, attended)
        proj = Linear(rows=tokens, d_in=width, d_out=width, bias=True)
        yield Child("proj", proj, reads=(attended,), writes=(y,))
        yield keep(qkv, q, kv, *held)

    @property
    def rows(self) -> Quantity:
        """Queries of all heads."""
        return self.windows * self.heads * self.side**2

    def _attend(
        self, q: Tensor, kv: Tensor, attended: Tensor
    ) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield bias and attention, and return what the code holds of them to the end."""
        yield from self._bias(q, self.rows)
        bias = Tensor("bias", self.rows * self.side**2)
        yield dot_product_attention(
            "scaled dot-product attention",
            (self.rows, self.side**2, self.head_dim),
            self.windows * self.heads,
            (q, kv, bias),
            attended,
            flops_per_pair=costs.SOFTMAX + 1,
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the bias's addition "
            "for each pair.",
        )
        return (bias, *self._held(self.rows))

    def _bias(self, q: Tensor, rows: Quantity) -> Iterator[Step]:
        """Yield what makes the bias of every pair of tokens from `rows` rows of queries."""
        for axis in ("h", "w"):
            yield from self._table(axis)
            yield from self._relative_scores(axis, q, rows)
        products = self._held(rows)
        for product in products:
            yield copy(
                f"{product.name} in the order of the queries",
                Tensor(f"{product.name}, transposed", product.elements),
                product,
                kernel="bias",
                why="The product runs row by row or column by column, so its result lies "
                "transposed.",
            )
        pairs = rows * self.side**2
        yield elementwise(
            "bias = rel_h + rel_w",
            pairs,
            products,
            Tensor("bias", pairs),
            category="attention",
            kernel="bias",
            pattern="per element",
            why="Broadcast to every pair of tokens: the largest tensor of the layer.",
        )

    def _held(self, rows: Quantity) -> tuple[Tensor, ...]:
        """Return what the code holds to the end besides the bias and what was attended to."""
        return tuple(Tensor(f"rel_{axis}", rows * self.side) for axis in ("h", "w"))

    def _relative_scores(self, axis: str, q: Tensor, rows: Quantity) -> Iterator[Operation]:
        """Yield the product of the queries with one axis's relative positions."""
        name = f"q · R_{axis}"
        kernel, written = "", f"rel_{axis}"
        if self.transposes:
            kernel, written = name, f"{written}, transposed"
        if axis == "h" or self.single:
            source, q = q, Tensor(f"q along {axis}", q.elements)
            why = (
                "The batched product runs over the places of an axis; only the columns of "
                "queries are reordered head by head without a copy."
            )
            yield copy(q.name, source, q, why, kernel=kernel)
        yield Operation(
            name,
            "attention",
            products=(Product(rows, self.head_dim, self.side, self.side),),
            unit="tensor",
            reads=(q, Tensor(f"R_{axis}", self.side**2 * self.head_dim)),
            writes=(Tensor(written, rows * self.side),),
            kernel=kernel,
            why="Each query meets the n relative positions of its row or column, not all n² "
            "tokens.",
        )

    def _table(self, axis: str) -> Iterator[Step]:
        """Yield the gather of one axis's relative positions, resized first where needed."""
        table = Tensor(f"rel_pos_{axis}", (2 * self.table_side - 1) * self.head_dim, role="weight")
        if self.resize:
            yield from self._resized(axis, table)
            table = Tensor(f"resized_{axis}", (2 * self.side - 1) * self.head_dim)
        # Some pair is at every distance: the whole table is read.
        picked = Tensor(
            table.name, self.side**2 * self.head_dim, role=table.role, at_least=table.elements
        )
        yield from self._gathered(axis, picked, first_name=f"gather R_{axis}")

    def _gathered(self, axis: str, picked: Tensor, first_name: str = "") -> Iterator[Step]:
        """Yield what picks the relative position of each pair of places on an axis.

        Indices are computed as floats: each place is multiplied by a float, which would scale it
        if there were more queries than keys.
        """
        pairs = self.side**2
        names = ("rows", "columns")
        places = [Tensor(f"{n}_{axis}", self.side, "int64") for n in names]
        scaled = [Tensor(f"{n}_{axis} as float32", self.side, "float32") for n in names]
        difference, shifted = (
            Tensor(f"{n}_{axis}", pairs, "float32") for n in ("i − j", "i − j + n − 1")
        )
        index = Tensor(f"index_{axis}", pairs, "int64")
        step = partial(elementwise, category="embedding", kernel=f"table {axis}")
        for name, place, scale in zip(names, places, scaled, strict=True):
            yield step(f"{name} on axis {axis}", 0, (), place)
            yield step(f"{name} × 1 on axis {axis}", self.side, (place,), scale)
        yield step(f"i − j on axis {axis}", pairs, tuple(scaled), difference, pattern="per element")
        yield step(f"i − j + n − 1 on axis {axis}", pairs, (difference,), shifted)
        yield keep(*scaled)
        yield step(f"as int64 on axis {axis}", 0, (shifted,), index, category="copy")
        gather = step(
            f"gather on axis {axis}",
            0,
            (index, picked),
            Tensor(f"R_{axis}", pairs * self.head_dim),
            saved_for_backward=(index,),
            pattern="per element",
            why="Row i − j + n − 1 of the table for each pair (i, j) of an axis.",
        )
        yield dataclasses.replace(gather, id=first_name)

    def _resized(self, axis: str, source: Tensor) -> Iterator[Operation]:
        entries = (2 * self.side - 1) * self.head_dim
        kernel = f"table {axis}"
        wide = Tensor(f"table32_{axis}", source.elements, "float32")
        resized = Tensor(f"resized32_{axis}", entries, "float32")
        result = Tensor(f"resized_{axis}", entries)
        yield copy(f"{source.name} as float32", source, wide, kernel=kernel)
        yield self._interpolated(f"{source.name} resized", axis, wide, resized)
        yield copy(f"{source.name} as bfloat16", resized, result, kernel=kernel)

    def _interpolated(self, name: str, axis: str, source: Tensor, target: Tensor) -> Operation:
        return elementwise(
            name,
            2 * costs.MULTIPLY_ADD * target.elements,
            (source,),
            target,
            category="interpolation",
            kernel=f"table {axis}",
            why="Linear interpolation: two multiply-adds an entry.",
        )
