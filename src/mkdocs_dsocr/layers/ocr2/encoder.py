"""DeepSeek-OCR-2's encoder: a small decoder, Qwen2's, that reads SAM's features and queries."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Embedding
from mkdocs_dsocr.layers.decoder.decoder_layer import Dense, RotatedDecoderLayer
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama import RotatedAttention, Sequences
from mkdocs_dsocr.layers.ocr2.names import SOURCE, named
from mkdocs_dsocr.layers.operations import Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.unlimited import (
    UnlimitedOcrTextMLP,
    UnlimitedOcrTextRMSNorm,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.clip import VisionTower
from mkdocs_dsocr.quantities import Quantity, exact_div

own = partial(named, __name__)
DeepseekOcr2VisionRMSNorm = own(UnlimitedOcrTextRMSNorm, "VisionRMSNorm")
DeepseekOcr2VisionMLP = own(UnlimitedOcrTextMLP, "VisionMLP")
DeepseekOcr2VisionRotaryEmbedding = own(UnlimitedOcrTextRotaryEmbedding, "VisionRotaryEmbedding")


@layer
class _Views(Sequences):
    """The dimensions of what reads features and queries of views."""

    batch: Quantity = dim("B", "views in the batch", "views")
    q_len: Quantity = dim("S", "positions per view: features, then queries", "positions")
    kv_len: Quantity = dim("K", "positions that are attended to: all", "positions")
    features: Quantity = dim("F", "features per view", "positions")


@layer
class DeepseekOcr2VisionAttention(_Views, RotatedAttention):
    """Grouped-query attention with a mixed mask.

    A feature attends to all features, a query to all features and to the queries before it.
    """

    source = SOURCE
    rationale = Rationale(
        counted="Four projections, three of them with a bias, rotation of q and k, attention over "
        "all S² pairs in full, and one addition a pair for the mask.",
        not_counted="The saving of a kernel that skips masked pairs.",
        assumed="Fused, the attention reads each key and value where it lies, for all heads of a "
        "group.",
        would_change="A kernel that knows the mask would skip features' pairs with queries, and "
        "half of the queries' own.",
    )
    projection_bias = True
    flops_per_pair = costs.SOFTMAX + 1
    attention_why = (
        "Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the mask for each pair. Each "
        "view has a mask of its own, though all are alike."
    )

    kv_heads: Quantity = dim("H_kv", "heads of keys and values")
    grouped: bool = False

    def _key_heads(self) -> Quantity:
        return self.kv_heads

    def _mask(self) -> tuple[Tensor, ...]:
        return (Tensor("mask", self.batch * self.q_len**2, "bool"),)

    def _pairs_left(self) -> Quantity:
        queries = self.q_len - self.features
        own = exact_div(queries * (queries + 1), 2)
        pairs: Quantity = self.batch * self.heads * (self.features * self.q_len + own)
        return pairs

    def _attended(self, k: Tensor, v: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        if not self.grouped:
            return k, v
        elements = self.batch * self.q_len * self.heads * self.head_dim
        for kind, narrow in (("keys", k), ("values", v)):
            yield copy(
                f"{kind} for every head",
                narrow,
                Tensor(f"{kind}, for every head", elements),
                kernel="attention",
                why="With a mask each group's keys and values are copied for all its heads.",
            )
        return tuple(Tensor(f"{kind}, for every head", elements) for kind in ("keys", "values"))

    def _held(self, k: Tensor, v: Tensor, attended: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return k, v


@layer
class DeepseekOcr2VisionEncoderLayer(Dense, _Views, RotatedDecoderLayer):
    """Pre-norm layer: attention with a mixed mask, then a SwiGLU MLP, each with a residual."""

    source = SOURCE
    norm = DeepseekOcr2VisionRMSNorm
    attention = DeepseekOcr2VisionAttention
    mlp = DeepseekOcr2VisionMLP

    kv_heads: Quantity = dim("H_kv", "heads of keys and values")
    grouped: bool = False

    def _given(self) -> tuple[Tensor, ...]:
        return (*super()._given(), Tensor("mask", self.batch * self.q_len**2, "bool"))


@layer
class DeepseekOcr2VisionEncoder(_Views, Stack):
    """A small language model as an encoder: one mixed mask, the layers, the last norm.

    Its positions are SAM's features of a view, then learned queries. What it makes of the
    queries is what the decoder reads of a view.
    """

    source = SOURCE
    rationale = Rationale(
        counted="The mask's comparisons pair by pair and view by view, the angles, every layer, "
        "the last norm.",
        not_counted="A token embedding: it has none.",
        assumed="All views of one call run as one batch; all have the same positions.",
        would_change="The mask depends on the view's size alone: it could be made once.",
    )
    norm = DeepseekOcr2VisionRMSNorm
    rotary = DeepseekOcr2VisionRotaryEmbedding

    def _mask(self) -> Generator[Step, None, tuple[Tensor, ...]]:
        views, size = self.batch, self.q_len
        both, pairs, all_pairs = views * size, size**2, views * size**2
        flags, integers = partial(Tensor, dtype="bool"), partial(Tensor, dtype="int64")
        blocks, zero = integers("blocks", both), integers("0", 1)
        sizes = {"views": views, "heads": 1, "rows": size, "columns": size}
        samples, heads, rows, columns = (integers(n, k) for n, k in sizes.items())
        counted = {n: integers(f"0 … S, {n}", size) for n in ("rows", "columns")}
        none, causal, either = flags("none", 1), flags("causal", pairs), flags("no pair", pairs)
        of_row, of_column = (integers(f"block of each {n}", both) for n in ("row", "column"))
        same, in_block, joined = (
            flags(n, k)
            for n, k in (("same block", all_pairs), ("in a block", both), ("block", all_pairs))
        )
        mask = flags("mask", all_pairs)
        step = partial(elementwise, category="attention", kernel="mask", pattern="per element")
        yield step("count positions", 0, (), integers("positions", size))
        yield step("no block", 0, (), blocks)
        yield step("number of the features' block", 0, (), zero)
        yield step("features' block", 0, (zero,), integers("blocks", views * self.features))
        yield step("count views", 0, (), samples)
        yield step("count heads", 0, (), heads)
        for name, made in (("rows", rows), ("columns", columns)):
            yield step(f"count {name}", 0, (), counted[name])
            yield step(f"{name} + offset", size, (counted[name],), made)
        yield step("no pair", 0, (), none)
        yield step("not later", pairs, (columns, rows), causal)
        yield step("or no pair", pairs, (none, causal), either)
        picked = integers("blocks, picked", both, view_of=blocks.name)
        yield step("block of each row", 0, (samples, rows, picked), of_row)
        yield step("block of each column", 0, (samples, columns, picked), of_column)
        yield step("same block", all_pairs, (of_row, of_column), same)
        yield step("in a block", both, (of_row,), in_block)
        yield step("same block, and in one", all_pairs, (same, in_block), joined)
        yield keep(of_row, of_column)
        yield step("causal or same block", all_pairs, (either, joined), mask)
        yield keep(samples, heads, rows, columns)
        return (mask,)

    def forward(self) -> Iterator[Step]:
        yield from super().forward()
        yield keep(Tensor("blocks", self.batch * self.q_len, "int64"))


@layer
class DeepseekOcr2VisionModel(VisionTower):
    """SAM, and the encoder on its map and a bank of queries."""

    source = SOURCE
    rationale = Rationale(
        counted="SAM, the join of its map with the queries, the encoder.",
        not_counted="The cut of the queries' results: a view.",
        assumed="All views of one call run as one batch. Both banks of queries are resident.",
        would_change="The view's side: SAM's global attention grows with its fourth power. The "
        "bank of queries, and so the tokens of a view, depends on its side in one step.",
    )

    few: Quantity = dim("Q_768", "queries of the bank for small views")
    many: Quantity = dim("Q_1024", "queries of the bank for large views")
    encoder: DeepseekOcr2VisionEncoder

    @property
    def _queries(self) -> Quantity:
        return self.encoder.q_len - self.encoder.features

    @property
    def features(self) -> Tensor:
        elements = self.encoder.batch * self._queries * self.encoder.hidden_size
        return Tensor("features", elements)

    def forward(self) -> Iterator[Step]:
        encoder, width = self.encoder, self.encoder.hidden_size
        positions = encoder.batch * encoder.q_len * width
        features = Tensor("SAM's map", encoder.batch * encoder.features * width)
        joined, tokens = Tensor("joined", positions), Tensor("encoder(joined)", positions)
        yield Child("sam_encoder", self.sam, reads=(self.pixels,), writes=(features,))
        for side, queries in ((768, self.few), (1024, self.many)):
            # Its rows are read as they lie: the embedding is held, and not called.
            bank = Embedding(rows=queries, entries=queries, width=width)
            yield Child(f"query_{side}_resolution", bank, calls=0)
        bank_read = Tensor("queries", self._queries * width, role="weight")
        yield elementwise(
            "features, then queries",
            0,
            (features, bank_read),
            joined,
            category="copy",
            pattern="per element",
        )
        yield Child("vision_encoder", encoder, reads=(joined,), writes=(tokens,))
        yield keep(features, joined)
