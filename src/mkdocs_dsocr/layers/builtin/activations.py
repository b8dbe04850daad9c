"""torch.nn.GELU and torch.nn.SiLU."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.quantities import Quantity


def _activation(name: str, cost: int, rows: Quantity, width: Quantity, why: str) -> Operation:
    return Operation(
        name,
        "activation",
        elementwise_flops=cost * rows * width,
        reads=(Tensor("x", rows * width),),
        saved_for_backward=(Tensor("x", rows * width),),
        writes=(Tensor("y", rows * width),),
        why=why,
    )


@layer
class GELU(BaseLayer):
    """Gaussian error linear unit, exact: 0.5 x (1 + erf(x / √2))."""

    source = "torch.nn.GELU"
    rationale = Rationale(
        counted=f"{costs.GELU} FLOPs an element, by the table of costs.",
        not_counted="The instructions that evaluate erf: it counts as one operation.",
        assumed="One elementwise kernel: reads its input once, writes its output once.",
        would_change="Fused into the epilogue of the linear before it, it would move no bytes.",
    )

    rows: Quantity = dim("N", "rows")
    width: Quantity = dim("m", "width of a row", "elements")

    def forward(self) -> Iterator[Step]:
        why = "divide, erf, add and two multiplications."
        yield _activation("GELU(x)", costs.GELU, self.rows, self.width, why)


@layer
class SiLU(BaseLayer):
    """Sigmoid linear unit: x / (1 + exp(−x))."""

    source = "torch.nn.SiLU"
    rationale = Rationale(
        counted=f"{costs.SILU} FLOPs an element, by the table of costs.",
        not_counted="The instructions that evaluate exp: it counts as one operation.",
        assumed="One elementwise kernel: reads its input once, writes its output once.",
        would_change="A fused SwiGLU kernel would keep its output on chip.",
    )

    rows: Quantity = dim("N", "rows")
    width: Quantity = dim("m", "width of a row", "elements")

    def forward(self) -> Iterator[Step]:
        why = "negate, exp, add and divide."
        yield _activation("SiLU(x)", costs.SILU, self.rows, self.width, why)
