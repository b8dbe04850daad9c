"""The two feed-forward blocks of the vision towers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import GELU, Linear
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, elementwise
from mkdocs_dsocr.quantities import Quantity


@layer
class FeedForward(BaseLayer):
    """What all feed-forward blocks share: a linear that widens, an activation, one that narrows."""

    linears: ClassVar[tuple[str, str]]
    """Names of the two linears."""
    activated: ClassVar[str]
    """How formulas write the activation's output."""

    rows: Quantity = dim("N", "tokens", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    hidden: Quantity = dim("m", "width inside the block", "elements")

    def _activate(self, wide: Tensor, activated: Tensor) -> Iterator[Step]:
        """Yield the activation."""
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        wide, activated = (Tensor(n, self.rows * self.hidden) for n in ("wide", self.activated))
        widen = Linear(rows=self.rows, d_in=self.width, d_out=self.hidden, bias=True)
        narrow = Linear(rows=self.rows, d_in=self.hidden, d_out=self.width, bias=True)
        yield Child(self.linears[0], widen, reads=(x,), writes=(wide,))
        yield from self._activate(wide, activated)
        yield Child(self.linears[1], narrow, reads=(activated,), writes=(y,))


@layer
class MLPBlock(FeedForward):
    """SAM's feed-forward block: widen, GELU, narrow."""

    source = "deepencoder.MLPBlock (SAM)"
    rationale = Rationale(
        counted="Two linears with bias and a GELU, each a separate kernel.",
        not_counted="Window padding: it was cut off before this block.",
        assumed="The widened activations are written and read again on both sides of the GELU.",
        would_change="A fused GELU epilogue would save two passes over N·m elements.",
    )
    linears = ("lin1", "lin2")
    activated = "GELU(wide)"
    activation: ClassVar[type[GELU]] = GELU

    def _activate(self, wide: Tensor, activated: Tensor) -> Iterator[Step]:
        gelu = self.activation(rows=self.rows, width=self.hidden)
        yield Child("act", gelu, reads=(wide,), writes=(activated,))


def quick_gelu(x: Tensor, y: Tensor) -> Iterator[Operation]:
    """Yield x·σ(1.702 x), three kernels that fuse to one."""
    scaled, gate = Tensor(f"1.702 {x.name}", x.elements), Tensor("σ", x.elements)
    step = partial(elementwise, category="activation", kernel="quick-GELU")
    yield step("1.702 x", x.elements, (x,), scaled)
    yield step(
        "sigmoid",
        costs.SIGMOID * x.elements,
        (scaled,),
        gate,
        saved_for_backward=(gate,),
        why="negate, exp, add and divide.",
    )
    yield step("x · sigmoid", x.elements, (x, gate), y, saved_for_backward=(x, gate))


@layer
class NoTPFeedForward(FeedForward):
    """CLIP's feed-forward block: widen, quick-GELU x·σ(1.702 x), narrow."""

    source = "deepencoder.NoTPFeedForward (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Two linears with bias; quick-GELU as multiply, sigmoid, multiply.",
        not_counted="Nothing.",
        assumed="The scripted quick-GELU runs as one kernel.",
        would_change="Run eagerly it is three kernels with two intermediate tensors.",
    )
    linears = ("fc1", "fc2")
    activated = "quick-GELU(wide)"

    def _activate(self, wide: Tensor, activated: Tensor) -> Iterator[Step]:
        yield from quick_gelu(wide, activated)
