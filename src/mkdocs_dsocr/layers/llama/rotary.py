"""LlamaRotaryEmbedding: the angles of rotary positions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity, exact_div


@layer
class RotaryAngles(BaseLayer):
    """What all rotary embeddings share: cosine and sine of position × frequency, in float32."""

    q_len: Quantity = dim("S", "positions per sample", "tokens")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def _rows(self) -> Quantity:
        """Return how many positions get angles."""
        return self.q_len

    def _product(self, positions: Tensor, inv_freq: Tensor, angles: Tensor) -> Operation:
        """Return the product of positions and frequencies."""
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        rows, half = self._rows(), exact_div(self.head_dim, 2)
        float32 = partial(Tensor, dtype="float32")
        angles = float32("angles", rows * half)
        doubled = float32("angles, twice", rows * self.head_dim)
        # The positions are the same for all samples: expanded, so read once.
        given, positions = Tensor("positions", self.q_len, "int64"), float32("p", rows)
        scaled = [float32(f"{f}, scaled", doubled.elements) for f in ("cos", "sin")]
        outputs = [Tensor(f, doubled.elements) for f in ("cos", "sin")]
        step = partial(elementwise, category="rope", kernel="angles")
        yield copy("positions as float32", given, positions, kernel="angles")
        yield self._product(positions, float32("inv_freq", half, role="buffer"), angles)
        yield copy("angles for both halves", angles, doubled, kernel="angles")
        for output, write in zip(outputs, scaled, strict=True):
            value = float32(f"{output.name} of the angles", doubled.elements)
            yield step(output.name, doubled.elements, (doubled,), value)
            why = "The attention scaling is 1 here and is multiplied all the same."
            yield step(f"{output.name} × scaling", doubled.elements, (value,), write, why=why)
        for read, output in zip(scaled, outputs, strict=True):
            yield copy(f"{output.name} as bfloat16", read, output, kernel="angles")
        yield keep(angles, doubled, *scaled, *outputs)


@layer
class _Samples(BaseLayer):
    batch: Quantity = dim("B", "samples in the batch", "samples")


@layer
class LlamaRotaryEmbedding(RotaryAngles, _Samples):
    """Cosine and sine of position × frequency, for every position of every sample.

    The product is a batched matmul of one column and one row in float32.
    """

    source = "transformers 4.46.3, models/llama/modeling_llama.py"
    rationale = Rationale(
        counted="The product, cosine, sine and the attention scaling's multiplications.",
        not_counted="The rotation itself: the attention that calls it counts it.",
        assumed="Every layer computes its own angles, for each sample of the batch.",
        would_change="Computing the angles once for all layers would save all but one call.",
    )

    def _rows(self) -> Quantity:
        return self.batch * self.q_len

    def _product(self, positions: Tensor, inv_freq: Tensor, angles: Tensor) -> Operation:
        half = exact_div(self.head_dim, 2)
        return Operation(
            "position × frequency",
            "rope",
            products=(Product(self._rows(), 1, half, self.batch, gradients=0),),
            reads=(inv_freq, positions),
            writes=(angles,),
            kernel="angles",
            autocast="off",
            why="A matmul over an inner dimension of 1, in float32: with TF32 off it is "
            "CUDA-core work.",
        )


def rotate(
    name: str, rows: Quantity, heads: Quantity, head_dim: Quantity, positions: Quantity
) -> Iterator[Operation]:
    """Yield x·cos + rotate_half(x)·sin, five kernels that fuse to one.

    Parameters
    ----------
    name
        What is rotated: ``q`` or ``k``.
    rows, heads, head_dim
        Tokens, heads of each, and their width.
    positions
        Rows of cosines and sines: one for each token, or for each position of all samples.
    """
    elements = rows * heads * head_dim
    half = rows * heads * exact_div(head_dim, 2)
    x, rotated = Tensor(name, elements), Tensor(f"rotated {name}", elements)
    by_cos, by_sin = Tensor(f"{name} cos", elements), Tensor(f"{name} sin", elements)
    negated, turned = Tensor(f"{name} negated", half), Tensor(f"{name} turned", elements)
    cos, sin = (Tensor(f, positions * head_dim) for f in ("cos", "sin"))
    # The angles need no gradient: only they are kept.
    step = partial(elementwise, category="rope", kernel=f"rotate {name}")
    broadcast = partial(step, pattern="per element")
    second = Tensor(name, half)
    yield broadcast(f"{name}: × cos", elements, (x, cos), by_cos, saved_for_backward=(cos,))
    yield step(f"{name}: negate second half", half, (second,), negated)
    yield broadcast(f"{name}: join halves", 0, (second, negated), turned, category="copy")
    yield broadcast(f"{name}: × sin", elements, (turned, sin), by_sin, saved_for_backward=(sin,))
    yield step(f"{name}: add", elements, (by_cos, by_sin), rotated)
