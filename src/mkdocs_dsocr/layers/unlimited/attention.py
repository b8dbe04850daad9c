"""Attention to the prompt and a window: every token sees the prompt and the last new tokens."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.layer import Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama.attention import RotatedAttention, append
from mkdocs_dsocr.layers.llama.rotary import RotaryAngles
from mkdocs_dsocr.layers.operations import Operation, Tensor, elementwise, keep
from mkdocs_dsocr.quantities import Quantity

SOURCE = "transformers 5.23.0, models/unlimited_ocr/modeling_unlimited_ocr.py"


@layer
class UnlimitedOcrTextRotaryEmbedding(RotaryAngles):
    """Cosine and sine of position × frequency, once for all layers and samples."""

    source = SOURCE
    rationale = Rationale(
        counted="The product, cosine, sine and the attention scaling's multiplications.",
        not_counted="The rotation itself: the attention that is given the angles counts it.",
        assumed="All samples have the same positions: one row of angles for each.",
        would_change="Angles of each layer, as DeepSeek-OCR's code makes them, would be made "
        "again by every layer.",
    )

    def _product(self, positions: Tensor, inv_freq: Tensor, angles: Tensor) -> Operation:
        return elementwise(
            "position × frequency",
            angles.elements,
            (positions, inv_freq),
            angles,
            category="rope",
            kernel="angles",
            pattern="per element",
        )


@layer
class UnlimitedOcrTextAttention(RotatedAttention):
    """Multi-head attention to the whole prompt and to a window of the newest tokens.

    The cache has two parts: the prompt's keys and values, which stay, and those of the last
    tokens, which slide. A prefill sees the prompt alone; a decode step sees both.
    """

    source = SOURCE
    rationale = Rationale(
        counted="Four projections, rotation of q and k, both parts of the cache, attention over "
        "all S·K pairs in full, and one addition a pair for the mask.",
        not_counted="The saving of a kernel that skips masked pairs.",
        assumed="Fused, the attention reads both parts where they lie, and new keys and values "
        "are written in place.",
        would_change="The window's width: beyond it a step costs the same, however long the text.",
    )

    flops_per_pair = costs.SOFTMAX + 1
    attention_why = (
        "Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the mask for each pair. All "
        "samples share one mask."
    )

    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    window: Quantity = dim("s", "of those, positions after the prompt", "tokens")
    decodes: bool = False

    def kv_cache(self) -> Iterator[Tensor]:
        for kind in ("keys", "values"):
            yield self._part(f"prompt's {kind}", self.kv_len - self.window)
            if self.decodes:
                yield self._part(f"window's {kind}", self.window)

    def _part(self, name: str, positions: Quantity) -> Tensor:
        elements = self.batch * positions * self.heads * self.head_dim
        return Tensor(name, elements, role="kv_cache", columns=self.head_dim)

    def _attended(self, k: Tensor, v: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        yield from self._append(k.elements)
        attended = tuple(self.kv_cache())
        if self.decodes:
            yield from self._join()
            elements = self.batch * self.kv_len * self.heads * self.head_dim
            attended = tuple(Tensor(f"all {kind}", elements) for kind in ("keys", "values"))
        # The cache's update is handed both, and holds them until it returns.
        yield keep(k, v)
        return attended

    def _mask(self) -> tuple[Tensor, ...]:
        return (Tensor("mask", self.q_len * self.kv_len, "bool"),)

    def _append(self, new: Quantity) -> Iterator[Operation]:
        """Yield the append of `new` elements of keys, and as many of values."""
        part = "window's" if self.decodes else "prompt's"
        for kind, name in (("keys", "rotated k"), ("values", "v")):
            added, stored = Tensor(name, new), Tensor(f"new {kind}", new, role="kv_cache")
            size = self.window if self.decodes else self.kv_len
            whole = self._part(f"{part} {kind}", size)
            before = [self._part(f"old {part} {kind}", size - self.q_len)] if self.decodes else []
            yield append(
                whole,
                (*before, added),
                stored,
                "Eagerly a concatenation: the window's old positions are read and written again. "
                "Fused: only the new ones are written, in place.",
            )

    def _join(self) -> Iterator[Operation]:
        """Yield the join of both parts of the cache."""
        parts = list(self.kv_cache())
        for kind, both in (("keys", parts[:2]), ("values", parts[2:])):
            elements = both[0].elements + both[1].elements
            yield elementwise(
                f"join the {kind}",
                0,
                tuple(both),
                Tensor(f"all {kind}", elements),
                category="copy",
                kernel="attention",
                pattern="per element",
                why="Eagerly the whole prompt is copied at every step; a fused kernel reads both "
                "parts where they lie.",
            )
