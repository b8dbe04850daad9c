"""torch.nn.GELU and torch.nn.SiLU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, elementwise
from mkdocs_dsocr.quantities import Quantity


@layer
class Activation(BaseLayer):
    """What elementwise activations share: one kernel that maps every element."""

    formula: ClassVar[str]
    cost: ClassVar[int]
    """FLOPs of an element, by the table of costs."""
    steps: ClassVar[str]
    """The arithmetic of an element, in words."""

    rows: Quantity = dim("N", "rows")
    width: Quantity = dim("m", "width of a row", "elements")

    def forward(self) -> Iterator[Step]:
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        flops = self.cost * self.rows * self.width
        yield elementwise(
            self.formula,
            flops,
            (x,),
            y,
            category="activation",
            saved_for_backward=(x,),
            why=self.steps,
        )


@layer
class GELU(Activation):
    """Gaussian error linear unit, exact: 0.5 x (1 + erf(x / √2))."""

    source = "torch.nn.GELU"
    rationale = Rationale(
        counted=f"{costs.GELU} FLOPs per element, by the table of costs.",
        not_counted="The instructions that evaluate erf: it counts as one operation.",
        assumed="One elementwise kernel: reads its input once, writes its output once.",
        would_change="Fused into the epilogue of the linear before it, it would move no bytes.",
    )

    formula = "GELU(x)"
    cost = costs.GELU
    steps = "divide, erf, add and two multiplications."


@layer
class SiLU(Activation):
    """Sigmoid linear unit: x / (1 + exp(−x))."""

    source = "torch.nn.SiLU"
    rationale = Rationale(
        counted=f"{costs.SILU} FLOPs per element, by the table of costs.",
        not_counted="The instructions that evaluate exp: it counts as one operation.",
        assumed="One elementwise kernel: reads its input once, writes its output once.",
        would_change="A fused SwiGLU kernel would keep its output on chip.",
    )

    formula = "SiLU(x)"
    cost = costs.SILU
    steps = "negate, exp, add and divide."
