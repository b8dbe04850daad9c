"""The two feed-forward blocks of the vision towers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import GELU, Linear
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.quantities import Quantity


@layer
class MLPBlock(BaseLayer):
    """SAM's feed-forward block: widen, GELU, narrow."""

    source = "deepencoder.MLPBlock (SAM)"
    rationale = Rationale(
        counted="Two linears with bias and a GELU, each a kernel of its own.",
        not_counted="Window padding: it was cut off before this block.",
        assumed="The widened activations are written and read again on both sides of the GELU.",
        would_change="A fused GELU epilogue would save two passes over N·m elements.",
    )

    activation: ClassVar[type[GELU]] = GELU

    rows: Quantity = dim("N", "tokens", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    hidden: Quantity = dim("m", "width inside the block", "elements")

    def forward(self) -> Iterator[Step]:
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        wide, activated = (Tensor(n, self.rows * self.hidden) for n in ("wide", "GELU(wide)"))
        lin1 = Linear(rows=self.rows, d_in=self.width, d_out=self.hidden, bias=True)
        lin2 = Linear(rows=self.rows, d_in=self.hidden, d_out=self.width, bias=True)
        yield Child("lin1", lin1, reads=(x,), writes=(wide,))
        yield Child(
            "act",
            self.activation(rows=self.rows, width=self.hidden),
            reads=(wide,),
            writes=(activated,),
        )
        yield Child("lin2", lin2, reads=(activated,), writes=(y,))


@layer
class NoTPFeedForward(BaseLayer):
    """CLIP's feed-forward block: widen, quick-GELU x·σ(1.702 x), narrow."""

    source = "deepencoder.NoTPFeedForward (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Two linears with bias; quick-GELU as multiply, sigmoid, multiply.",
        not_counted="Nothing.",
        assumed="The scripted quick-GELU runs as one kernel.",
        would_change="Run eagerly it is three kernels with two intermediate tensors.",
    )

    rows: Quantity = dim("N", "tokens", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    hidden: Quantity = dim("m", "width inside the block", "elements")

    def forward(self) -> Iterator[Step]:
        elements = self.rows * self.hidden
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        names = ("wide", "1.702 wide", "σ", "quick-GELU(wide)")
        wide, scaled, gate, activated = (Tensor(n, elements) for n in names)
        fc1 = Linear(rows=self.rows, d_in=self.width, d_out=self.hidden, bias=True)
        fc2 = Linear(rows=self.rows, d_in=self.hidden, d_out=self.width, bias=True)
        yield Child("fc1", fc1, reads=(x,), writes=(wide,))
        yield Operation(
            "1.702 x",
            "activation",
            elementwise_flops=elements,
            reads=(wide,),
            writes=(scaled,),
            kernel="quick-GELU",
        )
        yield Operation(
            "sigmoid",
            "activation",
            elementwise_flops=costs.SIGMOID * elements,
            reads=(scaled,),
            writes=(gate,),
            saved_for_backward=(gate,),
            kernel="quick-GELU",
            why="negate, exp, add and divide.",
        )
        yield Operation(
            "x · sigmoid",
            "activation",
            elementwise_flops=elements,
            reads=(wide, gate),
            saved_for_backward=(wide, gate),
            writes=(activated,),
            kernel="quick-GELU",
        )
        yield Child("fc2", fc2, reads=(activated,), writes=(y,))
