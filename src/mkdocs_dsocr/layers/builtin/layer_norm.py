"""torch.nn.LayerNorm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, elementwise
from mkdocs_dsocr.quantities import Quantity


@layer
class LayerNorm(BaseLayer):
    """Normalise every row to mean 0 and variance 1, then scale and shift it."""

    source = "torch.nn.LayerNorm"
    rationale = Rationale(
        counted=f"{costs.LAYER_NORM} FLOPs per element and {costs.LAYER_NORM_ROW} per row, "
        "as the table of costs derives them.",
        not_counted="A second pass over the input by kernels that do not keep the row on chip.",
        assumed="One fused kernel reads each row once; it also writes mean and 1/std (float32).",
        would_change="Under autocast it returns float32: twice the bytes written.",
    )

    first_names: ClassVar = {"permuted": ""}

    rows: Quantity = dim("N", "rows to normalise")
    width: Quantity = dim("d", "width of a row", "elements")
    permuted: bool = False
    """Whether its input lies in another order, for example channels first."""

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.width,))
        yield Parameter("bias", (self.width,))

    def forward(self) -> Iterator[Step]:
        elements = self.rows * self.width
        x = Tensor("x", elements)
        mean, inverse = (Tensor(n, self.rows, "float32") for n in ("mean", "1/std"))
        weight, bias = (Tensor(n, self.width, role="weight") for n in ("weight", "bias"))
        step = elementwise(
            "layer norm",
            costs.LAYER_NORM * elements + costs.LAYER_NORM_ROW * self.rows,
            (x, weight, bias),
            Tensor("y", elements),
            mean,
            inverse,
            category="norm",
            saved_for_backward=(x, mean, inverse),
            autocast="float32",
            pattern="reduction",
            why="mean, subtract, square, mean of squares, × 1/std, × weight, + bias.",
        )
        if self.permuted:
            why = f"{step.why} PyTorch first copies the input, which has another memory order."
            step = dataclasses.replace(step, rearranges=True, why=why)
        yield step
