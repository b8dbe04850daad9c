"""SAM's attention with decomposed relative positions."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.base import BaseLayer, Child, Parameter, Rationale, dim, layer
from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy
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
        "traffic a head; a view of another size resizes the tables first.",
    )

    windows: Quantity = dim("B", "squares of tokens: windows, or whole views")
    side: Quantity = dim("n", "side of a square", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    table_side: Quantity = dim("t", "side that the position tables were trained for", "tokens")
    resize: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("rel_pos_h", (2 * self.table_side - 1, self.head_dim))
        yield Parameter("rel_pos_w", (2 * self.table_side - 1, self.head_dim))

    def forward(self) -> Iterator[Operation | Child]:
        width = self.heads * self.head_dim
        tokens = self.windows * self.side**2
        elements = tokens * width
        rows = self.windows * self.heads * self.side**2
        pairs = rows * self.side**2
        q = Tensor("q", elements)

        yield Child("qkv", Linear(rows=tokens, d_in=width, d_out=3 * width, bias=True))
        yield Operation(
            "split q, k, v by head",
            "copy",
            reads=(Tensor("qkv", 3 * elements),),
            writes=(q, Tensor("kv", 2 * elements)),
            why="The permutation to [3, B·H, n², d] is made contiguous.",
        )
        for axis in ("h", "w"):
            yield from self._table(axis)
            yield Operation(
                f"q · R_{axis}",
                "attention",
                matmul_flops=2 * rows * self.side * self.head_dim,
                unit="tensor",
                reads=(q, Tensor(f"R_{axis}", self.side**2 * self.head_dim)),
                writes=(Tensor(f"rel_{axis}", rows * self.side),),
                why="Each query meets the n relative positions of its row or column, "
                "not all n² tokens.",
            )
        yield copy(
            "rel_w in the order of the queries",
            rows * self.side,
            why="Its product runs column by column, so the result lies transposed.",
        )
        yield Operation(
            "bias = rel_h + rel_w",
            "attention",
            elementwise_flops=pairs,
            reads=(Tensor("rel_h", rows * self.side), Tensor("rel_w", rows * self.side)),
            writes=(Tensor("bias", pairs),),
            why="Broadcast to every pair of tokens: the largest tensor of the layer.",
        )
        yield Operation(
            "scaled dot-product attention",
            "attention",
            matmul_flops=4 * pairs * self.head_dim,
            elementwise_flops=(costs.SOFTMAX + 1) * pairs,
            unit="tensor",
            reads=(q, Tensor("kv", 2 * elements), Tensor("bias", pairs)),
            writes=(Tensor("o", elements),),
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the bias's addition "
            "for each pair.",
        )
        yield Child("proj", Linear(rows=tokens, d_in=width, d_out=width, bias=True))

    def _table(self, axis: str) -> Iterator[Operation]:
        """Yield the gather of one axis's relative positions, resized first where needed."""
        entries = 2 * self.side - 1
        source = Tensor(f"rel_pos_{axis}", (2 * self.table_side - 1) * self.head_dim, role="weight")
        if self.resize:
            resized = Tensor(f"resized_{axis}", entries * self.head_dim)
            yield Operation(
                f"resize rel_pos_{axis}",
                "interpolation",
                elementwise_flops=2 * costs.MULTIPLY_ADD * entries * self.head_dim,
                reads=(source,),
                writes=(resized,),
                kernel=f"table {axis}",
                why="Linear interpolation: two multiply-adds an entry, computed in float32.",
            )
            source = resized
        picked = self.side**2 * self.head_dim
        read = Tensor(source.name, picked, role=source.role)
        yield Operation(
            f"gather R_{axis}",
            "embedding",
            elementwise_flops=2 * self.side**2,
            reads=(read,),
            writes=(Tensor(f"R_{axis}", picked),),
            kernel=f"table {axis}",
            why="Row i − j + n − 1 of the table for each pair (i, j) of an axis: "
            "one subtraction and one addition an index.",
        )
