"""Unlimited-OCR's decoder: layers, mask and angles."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.builtin import ModuleList
from mkdocs_dsocr.layers.decoder.decoder_layer import pre_norm
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import DType, Operation, Tensor, keep
from mkdocs_dsocr.layers.unlimited.attention import (
    SOURCE,
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.decoder import UnlimitedOcrTextMLP, UnlimitedOcrTextRMSNorm
from mkdocs_dsocr.layers.unlimited.experts import UnlimitedOcrTextMoe
from mkdocs_dsocr.quantities import Quantity


@layer
class _DecoderLayer(BaseLayer):
    """What both kinds of decoder layer share: norms, attention, residuals."""

    module_class = "UnlimitedOcrTextDecoderLayer"
    definition = (
        "Pre-norm decoder layer: attention to the prompt and a window, then a dense MLP in the "
        "first layers and a mixture of experts in all others, each with a residual."
    )
    source = SOURCE

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions a sample", "tokens")
    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    window: Quantity = dim("w", "of those, positions after the prompt", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    heads: Quantity = dim("H", "heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    decodes: bool = False

    def _mlp(self, rows: Quantity) -> BaseLayer:
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        angles = [Tensor(n, self.q_len * self.head_dim) for n in ("cos", "sin")]
        mask = Tensor("mask", self.q_len * self.kv_len, "bool")
        attention = UnlimitedOcrTextAttention(
            batch=self.batch,
            q_len=self.q_len,
            kv_len=self.kv_len,
            window=self.window,
            hidden_size=self.hidden_size,
            heads=self.heads,
            head_dim=self.head_dim,
            decodes=self.decodes,
        )
        norm = UnlimitedOcrTextRMSNorm(rows=rows, width=self.hidden_size)
        yield from pre_norm(norm, attention, (*angles, mask), self._mlp(rows))


@layer
class DenseTextLayer(_DecoderLayer):
    """Pre-norm decoder layer with a dense SwiGLU MLP: the first layers of the stack."""

    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Every part is called once a layer.",
        would_change="The sequence: projections and MLP grow with S, attention with S·K.",
    )

    intermediate_size: Quantity = dim("m", "width inside the dense MLP", "elements")

    def _mlp(self, rows: Quantity) -> BaseLayer:
        return UnlimitedOcrTextMLP(
            rows=rows, hidden_size=self.hidden_size, intermediate_size=self.intermediate_size
        )


@layer
class SparseTextLayer(_DecoderLayer):
    """Pre-norm decoder layer whose MLP is a mixture of experts."""

    rationale = Rationale(
        counted="Both norms, attention, router, routed and shared experts, both residuals.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="All experts are resident; a call reads those that its tokens chose.",
        would_change="The batch in decode: more tokens a step touch more experts, until all are "
        "read anyway.",
    )

    moe_intermediate_size: Quantity = dim("m", "width inside a routed expert", "elements")
    experts: Quantity = dim("E", "routed experts")
    top_k: Quantity = dim("k", "experts a token")
    shared_experts: Quantity = dim("s", "shared experts, run as one MLP s·m wide")
    distinct_experts: Quantity = dim("D", "distinct experts that get any token")

    def _mlp(self, rows: Quantity) -> BaseLayer:
        return UnlimitedOcrTextMoe(
            rows=rows,
            hidden_size=self.hidden_size,
            moe_intermediate_size=self.moe_intermediate_size,
            experts=self.experts,
            top_k=self.top_k,
            shared_experts=self.shared_experts,
            distinct_experts=self.distinct_experts,
        )


@layer
class UnlimitedOcrTextModel(BaseLayer):
    """The decoder: one mask and one set of angles for all layers, the layers, the last norm.

    The mask lets every new token see the whole prompt and the window before it.
    """

    source = SOURCE
    rationale = Rationale(
        counted="The mask's comparisons pair by pair, the angles, every layer, the last norm.",
        not_counted="The embedding of tokens and the features' places: the model that calls it.",
        assumed="One mask and one set of positions for all samples and all layers.",
        would_change="A kernel that knows the window needs no mask.",
    )

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions a sample", "tokens")
    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    decoder_layers: tuple[Child, ...]

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        x, y, z = (Tensor(n, rows * self.hidden_size) for n in ("x", "layers(x)", "norm(y)"))
        angles = [Tensor(n, self.q_len * self.head_dim) for n in ("cos", "sin")]
        mask = Tensor("mask", self.q_len * self.kv_len, "bool")
        positions = Tensor("positions", self.q_len, "int64")
        yield keep(x)
        yield from self._mask()
        rotary = UnlimitedOcrTextRotaryEmbedding(q_len=self.q_len, head_dim=self.head_dim)
        yield Child("rotary_emb", rotary, reads=(positions,), writes=tuple(angles))
        layers = ModuleList(items=self.decoder_layers)
        norm = UnlimitedOcrTextRMSNorm(rows=rows, width=self.hidden_size)
        yield Child("layers", layers, reads=(x, *angles, mask), writes=(y,))
        yield Child("norm", norm, reads=(y,), writes=(z,))
        yield keep(positions, *angles, mask)

    def _mask(self) -> Iterator[Operation]:
        """Yield the operations that make positions and mask, in the order in which they run."""
        new, seen, pairs = self.q_len, self.kv_len, self.q_len * self.kv_len

        def tensor(name: str, elements: Quantity, dtype: DType = "bool") -> Tensor:
            return Tensor(name, elements, dtype)

        counted, rows_from_0, columns_from_0 = (
            tensor(n, size, "int64")
            for n, size in (("0 … S", new), ("0 … S again", new), ("0 … K", seen))
        )
        rows, columns = tensor("rows", new, "int64"), tensor("columns", seen, "int64")
        positions = tensor("positions", new, "int64")
        edge, of_prompt = tensor("edge", new, "int64"), tensor("of the prompt", seen, "int64")
        none, every, each = (tensor(n, new) for n in ("none", "every", "each"))
        near, near_all, causal, in_window, either = (
            tensor(n, pairs) for n in ("near", "near and every", "causal", "in window", "either")
        )
        again, past, joined = (tensor(n, pairs) for n in ("causal again", "past", "past of prompt"))
        prompt, mask = tensor("prompt", seen), tensor("mask", pairs)
        steps: tuple[tuple[str, Quantity, tuple[Tensor, ...], Tensor], ...] = (
            ("count new positions", 0, (), counted),
            ("+ past", new, (counted,), positions),
            ("count samples", 0, (), tensor("0 … B", self.batch, "int64")),
            ("count heads", 0, (), tensor("0", 1, "int64")),
            ("count rows", 0, (), rows_from_0),
            ("rows + past", new, (rows_from_0,), rows),
            ("count columns", 0, (), columns_from_0),
            ("columns + offset", seen, (columns_from_0,), columns),
            ("no pair", 0, (), none),
            ("every row", 0, (), every),
            ("edge of the window", new, (rows,), edge),
            ("within the window", pairs, (columns, edge), near),
            ("and every row", pairs, (every, near), near_all),
            ("not later", pairs, (columns, rows), causal),
            ("both", pairs, (near_all, causal), in_window),
            ("or no pair", pairs, (none, in_window), either),
            ("each row", 0, (), each),
            ("not later, again", pairs, (columns, rows), again),
            ("and each row", pairs, (each, again), past),
            ("columns − offset", seen, (columns,), of_prompt),
            ("of the prompt", seen, (of_prompt,), prompt),
            ("earlier in the prompt", pairs, (past, prompt), joined),
            ("either mask", pairs, (either, joined), mask),
        )
        for name, flops, reads, write in steps:
            yield Operation(
                name,
                "attention",
                elementwise_flops=flops,
                reads=reads,
                writes=(write,),
                kernel="mask",
            )
