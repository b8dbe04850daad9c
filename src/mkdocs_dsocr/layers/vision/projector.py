"""MlpProjector: vision features to the decoder's width."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.quantities import Quantity


@layer
class MlpProjector(BaseLayer):
    """One linear from the joined CLIP and SAM features to the decoder's width."""

    source = "deepencoder.MlpProjector (projector_type: linear)"
    rationale = Rationale(
        counted="One linear with bias on every feature, without CLIP's class token.",
        not_counted="The join of the two towers' features: the model does it before the call.",
        assumed="All views of a batch are projected in one call.",
        would_change="Another projector_type is another layer; this one is the checkpoint's.",
    )

    rows: Quantity = dim("N", "features over all views", "tokens")
    d_in: Quantity = dim("d_in", "width of SAM's and CLIP's features joined", "elements")
    hidden_size: Quantity = dim("h", "hidden size of the decoder", "elements")

    def forward(self) -> Iterator[Step]:
        linear = Linear(rows=self.rows, d_in=self.d_in, d_out=self.hidden_size, bias=True)
        x, y = Tensor("x", self.rows * self.d_in), Tensor("y", self.rows * self.hidden_size)
        yield Child("layers", linear, reads=(x,), writes=(y,))
