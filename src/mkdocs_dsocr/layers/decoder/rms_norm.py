"""DeepseekV2RMSNorm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import DType, Tensor, elementwise, keep
from mkdocs_dsocr.quantities import Quantity


@layer
class DeepseekV2RMSNorm(BaseLayer):
    """Scale every row by the reciprocal of its root mean square, in float32."""

    source = "modeling_deepseekv2.DeepseekV2RMSNorm"
    rationale = Rationale(
        counted="Each elementwise step: 1 FLOP per element, the mean 1 for each element read.",
        not_counted="Nothing.",
        assumed="Fused: one kernel reads the row once and writes it once, float32 stays on chip.",
        would_change="Run eagerly it is eight kernels, most of them on float32 copies.",
    )

    rows: Quantity = dim("N", "rows to normalise", "tokens")
    width: Quantity = dim("h", "hidden size", "elements")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.width,))

    def forward(self) -> Iterator[Step]:
        elements = self.rows * self.width

        def tensor(name: str, rows_only: bool = False, dtype: DType = "float32") -> Tensor:
            return Tensor(name, self.rows if rows_only else elements, dtype)

        x, y = tensor("x", dtype="model"), tensor("y", dtype="model")
        x32, squares, scaled = tensor("x32"), tensor("x²"), tensor("x·r")
        mean, shifted, rsqrt = (tensor(n, rows_only=True) for n in ("mean", "mean + ε", "r"))
        weight = Tensor("weight", self.width, role="weight")
        n = tensor("n", dtype="model")
        step = partial(elementwise, category="norm", kernel="RMSNorm")
        in_float32, broadcast = (
            partial(step, autocast="float32"),
            partial(step, pattern="per element"),
        )
        yield step("x as float32", 0, (x,), x32)
        yield in_float32("square", elements, (x32,), squares, saved_for_backward=(x32,))
        yield step("mean", costs.MEAN * elements, (squares,), mean, pattern="reduction")
        yield step("mean + ε", self.rows, (mean,), shifted)
        yield in_float32(
            "reciprocal square root", self.rows, (shifted,), rsqrt, saved_for_backward=(rsqrt,)
        )
        both = (x32, rsqrt)
        yield broadcast("x · rsqrt", elements, both, scaled, saved_for_backward=both)
        yield step("as bfloat16", 0, (scaled,), n)
        yield broadcast("× weight", elements, (n, weight), y, saved_for_backward=(n,))
        yield keep(mean, scaled)
