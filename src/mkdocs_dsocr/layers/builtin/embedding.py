"""torch.nn.Embedding."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Role, Tensor, elementwise
from mkdocs_dsocr.quantities import Quantity


@layer
class Embedding(BaseLayer):
    """A table from which each index picks one row."""

    source = "torch.nn.Embedding"
    rationale = Rationale(
        counted="Bytes: the indices, the rows that they pick, and the copy.",
        not_counted="The rest of the table: a lookup does not read it. It has no FLOPs.",
        assumed="Each index causes a separate read, even if two indices are equal.",
        would_change="Costing it as a product with one-hot rows would be wrong: none takes place.",
    )

    rows: Quantity = dim("N", "indices looked up")
    entries: Quantity = dim("V", "rows in the table")
    width: Quantity = dim("d", "width of a row", "elements")
    constant: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.entries, self.width))

    def forward(self) -> Iterator[Step]:
        role: Role = "buffer" if self.constant else "activation"
        indices = Tensor("indices", self.rows, "int64", role)
        # The indices may all be the same.
        weight = Tensor("weight", self.rows * self.width, role="weight", at_least=self.width)
        yield elementwise(
            "pick rows",
            0,
            (indices, weight),
            Tensor("y", self.rows * self.width),
            category="embedding",
            saved_for_backward=(indices,),
            why="A gather reads the rows that it picks, not the table.",
        )
