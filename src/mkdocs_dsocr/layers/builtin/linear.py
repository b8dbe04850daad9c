"""torch.nn.Linear, and the LM head built from it."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.layer import Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Pattern, Tensor, copy
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity


def weighted(
    name: str,
    category: str,
    product: Product,
    reads: tuple[Tensor, ...],
    write: Tensor,
    *,
    bias: bool = False,
    pattern: Pattern = "contiguous",
    why: str,
) -> Operation:
    """Return a product with a weight on tensor cores, and the bias where there is one.

    Parameters
    ----------
    name, category, pattern, why
        As in :class:`Operation`.
    product
        The matrix product.
    reads
        What it reads, the bias apart.
    write
        The result.
    bias
        Whether a bias is added.
    """
    biases = (Tensor("b", product.columns, role="weight"),) if bias else ()
    return Operation(
        f"{name} + b" if bias else name,
        category,
        products=(product,),
        elementwise_flops=write.elements if bias else 0,
        unit="tensor",
        reads=(*reads, *biases),
        writes=(write,),
        pattern=pattern,
        why=why,
    )


def _product(product: Product, weight: Tensor, bias: bool = False) -> Operation:
    """Return ``x Wᵀ`` (with the bias, where there is one) as one operation."""
    why = "One multiply-add, 2 FLOPs, for each row, input and output."
    if bias:
        why += " The bias is added in the product's epilogue, on CUDA cores."
    x = Tensor("x", product.rows * product.inner)
    y = Tensor("y", product.rows * product.columns)
    return weighted("x Wᵀ", "linear", product, (x, weight), y, bias=bias, why=why)


@layer
class Linear(BaseLayer):
    """Affine map of every row: y = x Wᵀ + b.

    The product runs on tensor cores in bfloat16 with float32 accumulation.
    """

    source = "torch.nn.Linear"
    rationale = Rationale(
        counted="The full product over all rows, and the bias as one addition an output.",
        not_counted="FLOPs of padding to whole tiles; the estimated time includes it.",
        assumed="Weights are read once per call; input and output cross DRAM once.",
        would_change="A fused epilogue (activation, residual) would save the output's round trip.",
    )

    rows: Quantity = dim("N", "rows: every token, patch or position of the batch")
    d_in: Quantity = dim("d_in", "input width", "elements")
    d_out: Quantity = dim("d_out", "output width", "elements")
    bias: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.d_out, self.d_in), is_linear=True)
        if self.bias:
            yield Parameter("bias", (self.d_out,))

    def forward(self) -> Iterator[Step]:
        weight = Tensor("W", self.d_out * self.d_in, role="weight", columns=self.d_in)
        yield _product(Product(self.rows, self.d_in, self.d_out), weight, self.bias)


@layer
class ExpertLinear(BaseLayer):
    """The same linear of all experts of a layer: each maps the rows routed to it.

    All experts together see `rows` rows, whichever expert each row goes to.
    """

    module_class = "Linear"
    source = "torch.nn.Linear"
    rationale = Rationale(
        counted="The products over all routed rows; the weights of the experts that get any row.",
        not_counted="FLOPs of padding an expert's few rows to whole tiles; the estimated time "
        "includes it.",
        assumed="An expert's weight is read once per call, and only if the expert gets a row.",
        would_change="Skewed routing touches fewer experts: fewer bytes, the same FLOPs.",
    )

    rows: Quantity = dim("N", "rows over all experts: tokens × experts per token")
    d_in: Quantity = dim("d_in", "input width", "elements")
    d_out: Quantity = dim("d_out", "output width", "elements")
    experts: Quantity = dim("E", "experts held in memory")
    distinct: Quantity = dim("D", "distinct experts that get any row (an expectation)")
    top_k: Quantity = dim("k", "experts per token: the fewest that get any row")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.d_out, self.d_in), self.experts, is_linear=True)

    def forward(self) -> Iterator[Step]:
        read, least = (n * self.d_out * self.d_in for n in (self.distinct, self.top_k))
        weight = Tensor("W", read, role="weight", at_least=least, columns=self.d_in)
        # Each expert's rows are a product of their own.
        yield _product(Product(self.rows, self.d_in, self.d_out, self.distinct), weight)


@layer
class LMHead(BaseLayer):
    """Scores of every word of the vocabulary: logits = x Wᵀ, then a float32 copy.

    The model applies it to every position of the prefill unless the workload
    says ``logits_positions: last``.
    """

    source = "torch.nn.Linear (lm_head), and the cast that follows it"
    rationale = Rationale(
        counted="The product over all positions asked for, and both copies of the logits.",
        not_counted="Sampling: the choice of the next token from the logits.",
        assumed="The logits are written in bfloat16, read back and written again as float32.",
        would_change="Only the last position is needed to generate: `logits_positions: last` "
        "divides the cost of the prefill's head by the sequence length.",
    )

    rows: Quantity = dim("N", "positions that get logits, over the batch", "tokens")
    d_in: Quantity = dim("h", "hidden size", "elements")
    d_out: Quantity = dim("V", "vocabulary size", "words")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("weight", (self.d_out, self.d_in), is_linear=True)

    def boundary(self) -> Iterator[Tensor]:
        yield Tensor("logits", self.rows * self.d_out, "float32")

    def forward(self) -> Iterator[Step]:
        weight = Tensor("W", self.d_out * self.d_in, role="weight", columns=self.d_in)
        yield _product(Product(self.rows, self.d_in, self.d_out), weight)
        [logits] = self.boundary()
        why = "The model returns float32 logits: a copy of twice the bytes."
        yield copy("logits as float32", Tensor("y", logits.elements), logits, why)
