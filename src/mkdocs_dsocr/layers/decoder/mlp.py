"""DeepseekV2MLP: SwiGLU feed-forward, dense, shared or routed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import ExpertLinear, Linear, SiLU
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.quantities import Quantity


def _swiglu(
    layer: DeepseekV2MLP | RoutedExperts, wide: BaseLayer, narrow: BaseLayer
) -> Iterator[Step]:
    """Yield narrow(SiLU(wide(x)) · wide(x))."""
    elements = layer.rows * layer.intermediate_size
    x, y = (Tensor(n, layer.rows * layer.hidden_size) for n in ("x", "y"))
    gate, activated, up, product = (
        Tensor(n, elements) for n in ("gate", "SiLU(gate)", "up", "SiLU(gate) · up")
    )
    silu = layer.activation(rows=layer.rows, width=layer.intermediate_size)
    yield Child("gate_proj", wide, reads=(x,), writes=(gate,))
    yield Child("act_fn", silu, reads=(gate,), writes=(activated,))
    yield Child("up_proj", wide, reads=(x,), writes=(up,))
    yield Operation(
        product.name,
        "activation",
        elementwise_flops=elements,
        reads=(activated, up),
        writes=(product,),
        saved_for_backward=(activated, up),
        why="The activation itself is the child act_fn.",
    )
    yield Child("down_proj", narrow, reads=(product,), writes=(y,))


@layer
class DeepseekV2MLP(BaseLayer):
    """SwiGLU: down(SiLU(gate(x)) · up(x)), without biases.

    The dense layer's MLP, and the shared experts of a MoE layer as one wide MLP.
    """

    source = "modeling_deepseekv2.DeepseekV2MLP"
    rationale = Rationale(
        counted="Three products, the activation and the gate's multiplication.",
        not_counted="Nothing.",
        assumed="Gate and up are two products; the activation and the multiplication are two "
        "kernels.",
        would_change="A fused SwiGLU kernel would save two passes over N·m elements.",
    )

    activation: ClassVar[type[SiLU]] = SiLU

    rows: Quantity = dim("N", "tokens", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    intermediate_size: Quantity = dim("m", "width inside the MLP", "elements")

    def forward(self) -> Iterator[Step]:
        wide = Linear(rows=self.rows, d_in=self.hidden_size, d_out=self.intermediate_size)
        narrow = Linear(rows=self.rows, d_in=self.intermediate_size, d_out=self.hidden_size)
        yield from _swiglu(self, wide, narrow)


@layer
class RoutedExperts(BaseLayer):
    """The routed experts of a MoE layer, together: each a small SwiGLU on its own rows."""

    module_class = "DeepseekV2MLP"
    source = "modeling_deepseekv2.DeepseekV2MLP"
    rationale = Rationale(
        counted="Products, activation and gating over all routed rows (tokens × experts a token).",
        not_counted="The host's loop over the experts, and its launches.",
        assumed="Rows are routed uniformly and independently, so D distinct experts are read in "
        "expectation. Which expert a row goes to does not change the FLOPs.",
        would_change="Skewed routing reads fewer experts: an upper estimate of the bytes.",
    )

    activation: ClassVar[type[SiLU]] = SiLU

    rows: Quantity = dim("N", "rows over all experts: tokens × experts a token")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    intermediate_size: Quantity = dim("m", "width inside an expert", "elements")
    experts: Quantity = dim("E", "experts held in memory")
    distinct: Quantity = dim("D", "distinct experts that get any row (an expectation)")
    top_k: Quantity = dim("k", "experts a token: the fewest that get any row")

    def forward(self) -> Iterator[Step]:
        wide = self._linear(self.hidden_size, self.intermediate_size)
        yield from _swiglu(self, wide, self._linear(self.intermediate_size, self.hidden_size))

    def _linear(self, d_in: Quantity, d_out: Quantity) -> ExpertLinear:
        return ExpertLinear(
            rows=self.rows,
            d_in=d_in,
            d_out=d_out,
            experts=self.experts,
            distinct=self.distinct,
            top_k=self.top_k,
        )
