"""MoEGate and DeepseekV2MoE: routing, routed experts and shared experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import ModuleList
from mkdocs_dsocr.layers.decoder.mlp import DeepseekV2MLP, RoutedExperts, Tokens
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import (
    Operation,
    Tensor,
    copy,
    elementwise,
    keep,
    residual,
)
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity, less, ratio, select


def expected_distinct(experts: Quantity, top_k: Quantity, tokens: Quantity) -> Quantity:
    """Return the expected number of distinct experts that `tokens` tokens choose.

    Each token chooses `top_k` of `experts`, uniformly and independently of the
    others: an expert is missed by all of them with probability (1 − k/E)^T.
    """
    chosen: Quantity = experts * (1 - (1 - ratio(top_k, experts)) ** tokens)
    return chosen


def sort_kernels(keys: Quantity) -> Quantity:
    """Return how many kernels PyTorch sorts 64-bit integers with.

    Up to 2,048 keys are sorted in place; more by a radix sort in 8 passes.
    """
    kernels: Quantity = select(less(2048, keys), 26, 5)
    return kernels


@layer
class ExpertSizes(BaseLayer):
    """The dimensions of a mixture of experts, and of a decoder layer with one."""

    moe_intermediate_size: Quantity = dim("m", "width inside a routed expert", "elements")
    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts per token")
    shared_experts: Quantity = dim("s", "shared experts, run as one MLP s·m wide")
    distinct_experts: Quantity = dim("D", "distinct experts that get any token (an expectation)")


@layer
class MoEGate(Tokens):
    """Score every expert for every token in float32 and take the best k."""

    source = "modeling_deepseekv2.MoEGate (greedy top-k of a softmax)"
    rationale = Rationale(
        counted="Casts, scores, softmax, one comparison a score for the selection, the scaling "
        "of the chosen weights.",
        not_counted="Further passes of the selection: a radix select reads the scores again.",
        assumed="The scores are a float32 product; with TF32 off no tensor core takes part.",
        would_change="Under autocast the product is bfloat16 and runs on tensor cores.",
    )

    held: ClassVar[tuple[str, ...]] = ("p", "best", "indices")
    """What the code holds until the call returns."""

    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts per token")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.experts, self.hidden_size))

    def forward(self) -> Iterator[Step]:
        elements, weights = self.rows * self.hidden_size, self.experts * self.hidden_size
        scores, chosen = self.rows * self.experts, self.rows * self.top_k
        x32 = Tensor("x32", elements, "float32")
        w32 = Tensor("W32", weights, "float32")
        logits = Tensor("logits", scores, "float32")
        probabilities = Tensor("p", scores, "float32")
        best, indices = Tensor("best", chosen, "float32"), Tensor("indices", chosen, "int64")
        step = partial(elementwise, category="routing", kernel="select")
        reduce = partial(step, pattern="reduction")
        yield copy("x as float32", Tensor("x", elements), x32, kernel="scores")
        yield copy("W as float32", Tensor("W", weights, role="weight"), w32, kernel="scores")
        yield Operation(
            "router scores",
            "routing",
            products=(Product(self.rows, self.hidden_size, self.experts),),
            reads=(x32, w32),
            writes=(logits,),
            kernel="scores",
            num_kernels=2,
            why="The module computes them in float32: CUDA-core work.",
        )
        yield reduce(
            "softmax over experts",
            costs.SOFTMAX * scores,
            (logits,),
            probabilities,
            saved_for_backward=(probabilities,),
            autocast="float32",
        )
        yield reduce(
            "top-k selection",
            scores,
            (probabilities,),
            best,
            indices,
            saved_for_backward=(indices,),
            why="At least one comparison for each score.",
        )
        yield step(
            "× routed scaling factor",
            chosen,
            (best,),
            Tensor("weights", chosen, "float32"),
            why="The factor is 1 here and is multiplied all the same.",
        )
        made = {t.name: t for t in (logits, probabilities, best, indices)}
        yield keep(*(made[name] for name in self.held))


@layer
class DeepseekV2MoE(ExpertSizes, Tokens):
    """Route every token to k of E experts, and every token through the shared experts.

    Tokens are sorted by expert, each expert maps its own, and the results are
    weighted and added up at their places.
    """

    source = "modeling_deepseekv2.DeepseekV2MoE (moe_infer)"
    rationale = Rationale(
        counted="Gate, sorting and gathering of tokens, routed and shared experts, the weighted "
        "combination; the launches of each expert, and the host's wait for the tokens per expert.",
        not_counted="The time of Python's own loop over experts.",
        assumed="A token's hidden state passes through its k experts only, so work is N·k, not "
        "N·E, whichever experts are chosen. All experts are resident; a call reads those that "
        "some token chose: D = E·(1 − (1 − k/E)^N) under uniform, independent routing. "
        "The peak is that of evenly loaded experts, L rows each.",
        would_change="Real routing is skewed: fewer distinct experts and fewer bytes, the same "
        "FLOPs.",
    )

    largest_load: Quantity = dim("L", "tokens of the expert that gets most")
    expert_count: int

    def forward(self) -> Iterator[Step]:
        routed = self.rows * self.top_k
        x, combined, shared, y = (
            Tensor(n, self.rows * self.hidden_size) for n in ("x", "combined", "shared", "y")
        )
        choices, weights = Tensor("indices", routed, "int64"), Tensor("weights", routed, "float32")
        inner = self.shared_experts * self.moe_intermediate_size
        shared_experts = self.inner(DeepseekV2MLP, intermediate_size=inner)
        yield Child("gate", self.inner(MoEGate), reads=(x,), writes=(choices, weights))
        yield from self._dispatch(choices)
        yield self._experts(routed)
        yield from self._combine(routed)
        yield Child("shared_experts", shared_experts, reads=(x,), writes=(shared,))
        yield residual(combined, shared, y, "routed + shared")
        yield keep(choices, weights)

    def _experts(self, routed: Quantity) -> Child:
        """Return the routed experts: their work together, and the one with most rows."""
        together = self.inner(
            RoutedExperts,
            rows=routed,
            intermediate_size=self.moe_intermediate_size,
            distinct=self.distinct_experts,
        )
        each = Child(
            indices(range(self.expert_count)),
            together,
            self.expert_count,
            "parfor",
            active=self.distinct_experts,
            largest=dataclasses.replace(together, rows=self.largest_load),
        )
        elements = self.largest_load * self.hidden_size
        return Child(
            "experts",
            ModuleList(items=(each,)),
            reads=(Tensor("x, of one expert", elements, view_of="x, sorted"),),
            writes=(Tensor("result", elements, view_of="results"),),
        )

    def _dispatch(self, chosen: Tensor) -> Iterator[Operation]:
        """Yield the operations that bring each expert its tokens."""
        table, routed = self.rows * self.experts, chosen.elements
        ones = Tensor("chosen", table, "int64")
        order, source = Tensor("order", routed, "int64"), Tensor("source", routed, "int64")
        elements = routed * self.hidden_size
        step = partial(elementwise, category="routing")
        count, gather = partial(step, kernel="count"), partial(step, kernel="gather")
        yield count("zero the table of choices", 0, (), ones)
        yield count(
            "mark choices",
            0,
            (chosen,),
            Tensor("chosen", routed, "int64"),
            why="A scatter writes the entries that it picks.",
        )
        yield count(
            "tokens per expert",
            table,
            (ones,),
            Tensor("counts", self.experts, "int64"),
            host_syncs=1,
            pattern="reduction",
            why="A sum over tokens for each expert; the host reads it, one synchronisation.",
        )
        yield step(
            "sort by expert",
            0,
            (chosen,),
            Tensor("sorted", routed, "int64"),
            order,
            pattern="reduction",
            num_kernels=sort_kernels(routed),
            why="Sorting moves integers and is no arithmetic.",
        )
        yield gather("token of each choice", routed, (order,), source)
        yield gather(
            "gather tokens",
            0,
            (source, Tensor("x, picked", elements, view_of="x")),
            Tensor("x, sorted", elements),
            saved_for_backward=(source,),
            why="k copies of every token, in the order of the experts.",
        )

    def _combine(self, routed: Quantity) -> Iterator[Step]:
        """Yield the operations that bring the experts' results back to their tokens."""
        elements, out = routed * self.hidden_size, self.rows * self.hidden_size
        joined, placed = Tensor("joined", elements), Tensor("placed", elements)
        wide = Tensor("placed32", elements, "float32")
        weighted = Tensor("weighted", elements, "float32", view_of=wide.name)
        results, order = Tensor("results", elements), Tensor("order", routed, "int64")
        gathered = Tensor("x, sorted", elements)
        chosen = Tensor("chosen", self.rows * self.experts, "int64")
        mixed, weights = Tensor("sum", out, "float32"), Tensor("weights", routed, "float32")
        # In place: what is multiplied is copied first where a backward needs it.
        copied = Tensor("placed32, kept", elements, "float32")
        step = partial(elementwise, category="routing", kernel="combine")
        each = partial(step, pattern="per element")
        yield step("join the experts' results", 0, (results,), joined, kernel="")
        yield each(
            "scatter to their places", 0, (order, joined), placed, saved_for_backward=(order,)
        )
        yield step("results as float32", 0, (placed,), wide)
        yield each(
            "× weight of the choice",
            elements,
            (wide, weights),
            weighted,
            saved_for_backward=(copied, weights),
        )
        yield step("sum over the k choices", elements, (weighted,), mixed, pattern="reduction")
        yield step("sum as bfloat16", 0, (mixed,), Tensor("combined", out))
        yield keep(chosen, order, gathered, results, joined, placed)
