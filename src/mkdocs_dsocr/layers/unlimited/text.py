"""Unlimited-OCR's decoder: layers, mask and angles."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from mkdocs_dsocr.layers.decoder.decoder_layer import (
    Dense,
    MoEDecoderLayer,
    RotatedDecoderLayer,
)
from mkdocs_dsocr.layers.decoder.moe import ExpertSizes
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.layers.unlimited.attention import (
    SOURCE,
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.decoder import UnlimitedOcrTextMLP, UnlimitedOcrTextRMSNorm
from mkdocs_dsocr.layers.unlimited.experts import UnlimitedOcrTextMoe
from mkdocs_dsocr.quantities import Quantity


@layer
class _TextDecoderLayer(RotatedDecoderLayer):
    """Unlimited-OCR's own in both kinds of decoder layer: a mask, and angles that are given."""

    module_class = "UnlimitedOcrTextDecoderLayer"
    definition = (
        "Pre-norm decoder layer: attention to the prompt and a window, then a dense MLP in the "
        "first layers and a mixture of experts in all others, each with a residual."
    )
    source = SOURCE
    norm = UnlimitedOcrTextRMSNorm
    attention = UnlimitedOcrTextAttention

    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    window: Quantity = dim("w", "of those, positions after the prompt", "tokens")
    decodes: bool = False

    def _given(self) -> tuple[Tensor, ...]:
        return (*super()._given(), Tensor("mask", self.q_len * self.kv_len, "bool"))


@layer
class DenseTextLayer(Dense, _TextDecoderLayer):
    """Pre-norm decoder layer with a dense SwiGLU MLP: the first layers of the stack."""

    mlp = UnlimitedOcrTextMLP


@layer
class SparseTextLayer(ExpertSizes, _TextDecoderLayer):
    """Pre-norm decoder layer whose MLP is a mixture of experts."""

    rationale = Rationale(
        counted="Both norms, attention, router, routed and shared experts, both residuals.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="All experts are resident; a call reads those that its tokens choose.",
        would_change=MoEDecoderLayer.rationale.would_change,
    )
    mlp = UnlimitedOcrTextMoe


@layer
class UnlimitedOcrTextModel(Stack):
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

    norm = UnlimitedOcrTextRMSNorm
    rotary = UnlimitedOcrTextRotaryEmbedding

    def _mask(self) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield the operations that make positions and mask in order, and return the mask."""
        new, seen, pairs = self.q_len, self.kv_len, self.q_len * self.kv_len
        flags, integers = partial(Tensor, dtype="bool"), partial(Tensor, dtype="int64")
        counted, rows_from_0, rows, positions, edge = (
            integers(n, new) for n in ("0 … S", "0 … S again", "rows", "positions", "edge")
        )
        columns_from_0, columns, of_prompt = (
            integers(n, seen) for n in ("0 … K", "columns", "of the prompt")
        )
        none, every, each = (flags(n, new) for n in ("none", "every", "each"))
        near, near_all, causal, in_window, either = (
            flags(n, pairs) for n in ("near", "near and every", "causal", "in window", "either")
        )
        again, past, joined = (flags(n, pairs) for n in ("causal again", "past", "past of prompt"))
        prompt, mask = flags("prompt", seen), flags("mask", pairs)
        step = partial(elementwise, category="attention", kernel="mask", pattern="per element")
        yield step("count new positions", 0, (), counted)
        yield step("+ past", new, (counted,), positions)
        samples, heads = integers("0 … B", self.batch), integers("0", 1)
        yield step("count samples", 0, (), samples)
        yield step("count heads", 0, (), heads)
        yield step("count rows", 0, (), rows_from_0)
        yield step("rows + past", new, (rows_from_0,), rows)
        yield step("count columns", 0, (), columns_from_0)
        yield step("columns + offset", seen, (columns_from_0,), columns)
        yield step("no pair", 0, (), none)
        yield step("every row", 0, (), every)
        yield step("edge of the window", new, (rows,), edge)
        yield step("within the window", pairs, (columns, edge), near)
        yield step("and every row", pairs, (every, near), near_all)
        yield step("not later", pairs, (columns, rows), causal)
        yield step("both", pairs, (near_all, causal), in_window)
        yield step("or no pair", pairs, (none, in_window), either)
        yield step("each row", 0, (), each)
        yield step("not later, again", pairs, (columns, rows), again)
        yield step("and each row", pairs, (each, again), past)
        yield step("columns − offset", seen, (columns,), of_prompt)
        yield step("of the prompt", seen, (of_prompt,), prompt)
        yield step("earlier in the prompt", pairs, (past, prompt), joined)
        yield step("either mask", pairs, (either, joined), mask)
        yield keep(samples, heads, rows, columns)
        return (mask,)
