"""LlamaRotaryEmbedding: the angles of rotary positions."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Product, Tensor, keep
from mkdocs_dsocr.quantities import Quantity, exact_div


@layer
class LlamaRotaryEmbedding(BaseLayer):
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

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "positions a sample", "tokens")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def forward(self) -> Iterator[Step]:
        positions = self.batch * self.q_len
        half = exact_div(self.head_dim, 2)
        angles = Tensor("angles", positions * half, "float32")
        doubled = Tensor("angles, twice", positions * self.head_dim, "float32")
        inv_freq = Tensor("inv_freq", half, "float32", "buffer")
        yield Operation(
            "positions as float32",
            "copy",
            # The positions are the same for all samples: expanded, so read once.
            reads=(Tensor("positions", self.q_len, "int64"),),
            writes=(Tensor("p", positions, "float32"),),
            kernel="angles",
        )
        yield Operation(
            "position × frequency",
            "rope",
            products=(Product(positions, 1, half, self.batch, gradients=0),),
            reads=(inv_freq, Tensor("p", positions, "float32")),
            writes=(angles,),
            kernel="angles",
            autocast="off",
            why="A matmul over an inner dimension of 1, in float32: with TF32 off it is "
            "CUDA-core work.",
        )
        yield Operation(
            "angles for both halves", "copy", reads=(angles,), writes=(doubled,), kernel="angles"
        )
        scaled = [Tensor(f"{f}, scaled", doubled.elements, "float32") for f in ("cos", "sin")]
        outputs = [Tensor(f, doubled.elements) for f in ("cos", "sin")]
        for function, write in zip(("cos", "sin"), scaled, strict=True):
            value = Tensor(f"{function} of the angles", doubled.elements, "float32")
            yield Operation(
                function,
                "rope",
                elementwise_flops=positions * self.head_dim,
                reads=(doubled,),
                writes=(value,),
                kernel="angles",
            )
            yield Operation(
                f"{function} × scaling",
                "rope",
                elementwise_flops=positions * self.head_dim,
                reads=(value,),
                writes=(write,),
                kernel="angles",
                why="The attention scaling is 1 here and is multiplied all the same.",
            )
        for read, output in zip(scaled, outputs, strict=True):
            yield Operation(
                f"{output.name} as bfloat16",
                "copy",
                reads=(read,),
                writes=(output,),
                kernel="angles",
            )
        yield keep(angles, doubled, *scaled, *outputs)


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
    steps: tuple[tuple[str, str, Quantity, tuple[Tensor, ...], Tensor], ...] = (
        ("× cos", "rope", elements, (x, cos), by_cos),
        ("negate second half", "rope", half, (Tensor(name, half),), negated),
        ("join halves", "copy", 0, (Tensor(name, half), negated), turned),
        ("× sin", "rope", elements, (turned, sin), by_sin),
        ("add", "rope", elements, (by_cos, by_sin), rotated),
    )
    for what, category, flops, reads, write in steps:
        yield Operation(
            f"{name}: {what}",
            category,
            elementwise_flops=flops,
            reads=reads,
            writes=(write,),
            saved_for_backward=tuple(t for t in reads if t in (cos, sin)),
            kernel=f"rotate {name}",
        )
