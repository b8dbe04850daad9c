"""DeepseekV2MLP: SwiGLU feed-forward, dense, shared or routed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import ExpertLinear, Linear, SiLU
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, elementwise
from mkdocs_dsocr.quantities import Quantity


@layer
class Tokens(BaseLayer):
    """The dimensions of what maps every token by itself."""

    rows: Quantity = dim("N", "tokens", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")


@layer
class SwiGLU(Tokens):
    """What dense and routed MLPs share: narrow(SiLU(wide(x)) · wide(x))."""

    activation: ClassVar[type[SiLU]] = SiLU

    intermediate_size: Quantity = dim("m", "width inside the MLP", "elements")

    def _linear(self, d_in: Quantity, d_out: Quantity) -> BaseLayer:
        return self.inner(Linear, d_in=d_in, d_out=d_out)

    def forward(self) -> Iterator[Step]:
        elements = self.rows * self.intermediate_size
        x, y = (Tensor(n, self.rows * self.hidden_size) for n in ("x", "y"))
        gate, activated, up, product = (
            Tensor(n, elements) for n in ("gate", "SiLU(gate)", "up", "SiLU(gate) · up")
        )
        wide = self._linear(self.hidden_size, self.intermediate_size)
        silu = self.activation(rows=self.rows, width=self.intermediate_size)
        yield Child("gate_proj", wide, reads=(x,), writes=(gate,))
        yield Child("act_fn", silu, reads=(gate,), writes=(activated,))
        yield Child("up_proj", wide, reads=(x,), writes=(up,))
        yield gated(activated, up, product, "The activation itself is the child act_fn.")
        narrow = self._linear(self.intermediate_size, self.hidden_size)
        yield Child("down_proj", narrow, reads=(product,), writes=(y,))


def gated(activated: Tensor, up: Tensor, product: Tensor, why: str = "") -> Operation:
    """Return the product of a gate's activation with what it lets through."""
    return elementwise(
        product.name,
        product.elements,
        (activated, up),
        product,
        category="activation",
        saved_for_backward=(activated, up),
        why=why,
    )


@layer
class DeepseekV2MLP(SwiGLU):
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


@layer
class RoutedExperts(SwiGLU):
    """The routed experts of a MoE layer, together: each a small SwiGLU on its own rows."""

    module_class = "DeepseekV2MLP"
    source = "modeling_deepseekv2.DeepseekV2MLP"
    rationale = Rationale(
        counted="Products, activation and gating over all routed rows: tokens × experts per token.",
        not_counted="The time of Python's own loop over the experts; its launches are counted.",
        assumed="Rows are routed uniformly and independently, so D distinct experts are read in "
        "expectation. The FLOPs do not depend on the chosen experts.",
        would_change="Skewed routing reads fewer experts: an upper estimate of the bytes.",
    )

    rows: Quantity = dim("N", "rows over all experts: tokens × experts per token")
    intermediate_size: Quantity = dim("m", "width inside an expert", "elements")
    experts: Quantity = dim("E", "experts held in memory")
    distinct: Quantity = dim("D", "distinct experts that get any row (an expectation)")
    top_k: Quantity = dim("k", "experts per token: the fewest that get any row")

    def _linear(self, d_in: Quantity, d_out: Quantity) -> BaseLayer:
        return self.inner(ExpertLinear, d_in=d_in, d_out=d_out)
