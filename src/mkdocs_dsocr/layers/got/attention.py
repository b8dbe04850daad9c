"""GOT-OCR-2.0's attention in SAM: the scores of all pairs of tokens are tensors in memory."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.got.names import SOURCE
from mkdocs_dsocr.layers.layer import Rationale, Step, layer
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.layers.unlimited.sam import UnlimitedOcrSamVisionSdpaAttention


@layer
class GotOcr2VisionAttention(UnlimitedOcrSamVisionSdpaAttention):
    """SAM's multi-head attention over a square of tokens, without a fused kernel.

    Scores, bias and softmax are operations of their own. The weights of all pairs are returned.
    """

    source = SOURCE
    rationale = Rationale(
        counted="All pairs of the n² tokens, padding tokens of a window included: two products, "
        "the bias, its addition, a softmax in float32 and the casts around it.",
        not_counted="Dropout: it does nothing in inference.",
        assumed="Fused, addition, casts and softmax are one kernel; scores, bias and weights are "
        "written to DRAM.",
        would_change="Fused attention would keep scores and weights on chip: n⁴ elements per head.",
    )

    @property
    def weights(self) -> Tensor:
        """The weight of every pair of tokens."""
        return Tensor("P", self.rows * self.side**2)

    def _attend(
        self, q: Tensor, kv: Tensor, attended: Tensor
    ) -> Generator[Step, None, tuple[Tensor, ...]]:
        weights, groups, tokens = self.weights, self.windows * self.heads, self.side**2
        pairs, part_of = weights.elements, kv.view_of or kv.name
        keys, values = (Tensor(n, q.elements, view_of=part_of) for n in ("k", "v"))
        scaled, by_head = Tensor("q · scale", q.elements), Tensor("o by head", q.elements)
        scores, bias, biased = (Tensor(n, pairs) for n in ("scores", "bias", "scores + bias"))
        wide, softmax = (Tensor(n, pairs, "float32") for n in ("biased as float32", "softmax"))
        product = partial(Operation, category="attention", unit="tensor")
        step = partial(elementwise, category="attention", kernel="softmax")
        yield elementwise(scaled.name, q.elements, (q,), scaled, category="attention")
        yield product(
            "q kᵀ",
            products=(Product(self.rows, self.head_dim, tokens, groups),),
            reads=(scaled, keys),
            writes=(scores,),
            why="One product for each head of each square.",
        )
        yield from self._bias(q, self.rows)
        yield step(biased.name, pairs, (scores, bias), biased)
        yield copy(wide.name, biased, wide, "The softmax is asked for in float32.", "softmax")
        yield step(
            "softmax over the keys",
            costs.SOFTMAX * pairs,
            (wide,),
            softmax,
            saved_for_backward=(softmax,),
            pattern="reduction",
        )
        yield copy("P as bfloat16", softmax, weights, kernel="softmax")
        yield keep(biased)
        yield product(
            "P v",
            products=(Product(self.rows, tokens, self.head_dim, groups),),
            reads=(weights, values),
            writes=(by_head,),
            why="One product for each head of each square.",
        )
        yield copy("heads side by side", by_head, attended, "Heads lie one after another.")
        return bias, weights
