"""The mixture of experts, all experts in one grouped product."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers.builtin.linear import weighted
from mkdocs_dsocr.layers.decoder import DeepseekV2MLP, MoEGate
from mkdocs_dsocr.layers.decoder.mlp import Tokens, gated
from mkdocs_dsocr.layers.decoder.moe import ExpertSizes, sort_kernels
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.operations import Operation, Tensor, elementwise, keep, residual
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.decoder import SiLUActivation, UnlimitedOcrTextMLP
from mkdocs_dsocr.quantities import Quantity


@layer
class UnlimitedOcrTextTopkRouter(MoEGate):
    """Score every expert for every token in float32, take the best k, and return all scores."""

    source = SOURCE
    held = ("logits", "p", "indices")


@layer
class UnlimitedOcrTextExperts(Tokens):
    """Every routed row through its expert: rows sorted by expert, then grouped products."""

    source = f"{SOURCE}; the grouped product of integrations/moe.py"
    rationale = Rationale(
        counted="The sort by expert and back, both grouped products over all routed rows, the "
        "activation, the gate, the weighted sum.",
        not_counted="FLOPs of padding a group's few rows to whole tiles; the estimated time "
        "includes it.",
        assumed="A row meets one expert, so work is N·k rows whichever experts are chosen. The "
        "operator is handed all weights; a kernel reads those of the D experts with rows.",
        would_change="Skewed routing reads fewer experts: fewer bytes, the same FLOPs.",
    )

    moe_intermediate_size: Quantity = dim("m", "width inside an expert", "elements")
    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts per token")
    distinct_experts: Quantity = dim("D", "distinct experts that get any token")

    def parameters(self) -> Iterator[Parameter]:
        inner = self.moe_intermediate_size
        yield Parameter("gate_up_proj", (self.experts, 2 * inner, self.hidden_size), is_linear=True)
        yield Parameter("down_proj", (self.experts, self.hidden_size, inner), is_linear=True)

    def forward(self) -> Iterator[Step]:
        routed = self.rows * self.top_k
        inner = routed * self.moe_intermediate_size
        ends = Tensor("ends", self.experts, "int32")
        yield keep(Tensor("x", self.rows * self.hidden_size))
        yield from self._sorted(routed, ends)
        wide = Tensor("gate and up", 2 * inner)
        gate, up = (Tensor(n, inner, view_of=wide.name) for n in ("gate", "up"))
        activated, product = Tensor("SiLU(gate)", inner), Tensor("SiLU(gate) · up", inner)
        mapped = Tensor("mapped", routed * self.hidden_size)
        hidden, width = self.hidden_size, self.moe_intermediate_size
        picked = Tensor("x, sorted", routed * hidden)
        yield self._product("gate_up_proj", hidden, 2 * width, picked, ends, wide)
        silu = SiLUActivation(rows=routed, width=width)
        yield Child("act_fn", silu, reads=(gate,), writes=(activated,))
        yield gated(activated, up, product)
        yield keep(wide)
        yield self._product("down_proj", width, hidden, product, ends, mapped)
        yield from self._combined(routed, mapped)
        yield keep(picked, ends, mapped)

    def _product(
        self, name: str, d_in: Quantity, d_out: Quantity, x: Tensor, ends: Tensor, y: Tensor
    ) -> Operation:
        """Return a grouped product: each row by the weight of its expert."""
        routed = self.rows * self.top_k
        weight = Tensor(
            name,
            self.distinct_experts * d_in * d_out,
            role="weight",
            at_least=self.top_k * d_in * d_out,
            columns=d_in,
        )
        why = "One multiply-add, 2 FLOPs, for each routed row, input and output."
        product = Product(routed, d_in, d_out, self.distinct_experts)
        reads, called = (x, weight, ends), f"x Wᵀ by expert ({name})"
        return weighted(called, "linear", product, reads, y, why=why)

    def _sorted(self, routed: Quantity, ends: Tensor) -> Iterator[Operation]:
        """Yield the operations that bring each expert its rows."""
        choices, order, source = (
            Tensor(n, routed, "int64") for n in ("indices", "order", "source")
        )
        by_expert, short = Tensor("sorted", routed, "int64"), Tensor("short", routed, "int32")
        counts = Tensor("counts", self.experts, "int32")
        elements = routed * self.hidden_size
        weights, picked = (
            Tensor(n, routed, "float32") for n in ("weights, picked", "weights, sorted")
        )
        step = partial(elementwise, category="routing")
        gathered = (source, Tensor("x, picked", elements, view_of="x"))
        yield step(
            "sort by expert",
            0,
            (choices,),
            by_expert,
            order,
            pattern="reduction",
            num_kernels=sort_kernels(routed),
            why="Sorting moves integers and is no arithmetic.",
        )
        yield step("token of each choice", routed, (order,), source)
        yield step(
            "gather tokens",
            0,
            gathered,
            Tensor("x, sorted", elements),
            kernel="gather",
            saved_for_backward=(source,),
            why="k copies of every token, in the order of the experts.",
        )
        yield step("gather weights", 0, (order, weights), picked, saved_for_backward=(order,))
        yield step("experts as int32", 0, (by_expert,), short)
        why = "A histogram."
        yield step("rows of each expert", routed, (short,), counts, pattern="reduction", why=why)
        ends_why = "A running sum."
        yield step("where each expert's rows end", self.experts, (counts,), ends, why=ends_why)

    def _combined(self, routed: Quantity, mapped: Tensor) -> Iterator[Step]:
        """Yield the operations that bring the experts' results back to their tokens."""
        elements, out = routed * self.hidden_size, self.rows * self.hidden_size
        weighted, placed = (Tensor(n, elements, "float32") for n in ("weighted", "placed"))
        order, places, back = (Tensor(n, routed, "int64") for n in ("order", "places", "back"))
        mixed = Tensor("sum", out, "float32")
        weights = Tensor("weights, sorted", routed, "float32")
        step = partial(elementwise, category="routing")
        each, both = partial(step, pattern="per element"), (mapped, weights)
        yield each("× weight of the choice", elements, both, weighted, saved_for_backward=both)
        yield step("count places", 0, (), places)
        yield step("the order, inverted", 0, (order, places), back)
        yield each(
            "scatter to their places",
            0,
            (back, Tensor("weighted, picked", elements, "float32", view_of="weighted")),
            placed,
            saved_for_backward=(back,),
        )
        yield step("sum over the k choices", elements, (placed,), mixed, pattern="reduction")
        yield step("sum as bfloat16", 0, (mixed,), Tensor("y", out))
        yield keep(order, back, weights, placed, mixed)
        yield keep(*(Tensor(n, routed, "int64") for n in ("sorted", "order")))
        yield keep(Tensor("short", routed, "int32"), Tensor("counts", self.experts, "int32"))


@layer
class UnlimitedOcrTextMoe(ExpertSizes, Tokens):
    """Route every token to k of E experts, and every token through the shared experts."""

    source = SOURCE
    rationale = Rationale(
        counted="Router, routed and shared experts, their sum.",
        not_counted="Nothing.",
        assumed="The shared experts are one MLP s·m wide.",
        would_change="The number of experts per token: routed work grows with it.",
    )

    router: ClassVar[type[MoEGate]] = UnlimitedOcrTextTopkRouter
    grouped: ClassVar[type[UnlimitedOcrTextExperts]] = UnlimitedOcrTextExperts
    mlp: ClassVar[type[DeepseekV2MLP]] = UnlimitedOcrTextMLP

    moe_intermediate_size: Quantity = dim("m", "width inside an expert", "elements")
    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts per token")
    shared_experts: Quantity = dim("s", "shared experts, run as one MLP s·m wide")
    distinct_experts: Quantity = dim("D", "distinct experts that get any token")

    def forward(self) -> Iterator[Step]:
        routed = self.rows * self.top_k
        x, mapped, shared, y = (
            Tensor(n, self.rows * self.hidden_size) for n in ("x", "routed", "shared", "y")
        )
        choices, weights = Tensor("indices", routed, "int64"), Tensor("weights", routed, "float32")
        router, experts = self.inner(self.router), self.inner(self.grouped)
        inner = self.shared_experts * self.moe_intermediate_size
        mlp = self.inner(self.mlp, intermediate_size=inner)
        logits = Tensor("logits", self.rows * self.experts, "float32")
        yield Child("gate", router, reads=(x,), writes=(logits, choices, weights))
        yield Child("experts", experts, reads=(x, choices, weights), writes=(mapped,))
        yield Child("shared_experts", mlp, reads=(x,), writes=(shared,))
        yield residual(mapped, shared, y, "routed + shared")
        yield keep(logits, choices, weights)
