"""Attention to the prompt and a window: every token sees the prompt and the last new tokens."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama.rotary import rotate
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Product, Tensor, keep
from mkdocs_dsocr.quantities import Quantity, exact_div

SOURCE = "transformers 5.23.0, models/unlimited_ocr/modeling_unlimited_ocr.py"


@layer
class UnlimitedOcrTextRotaryEmbedding(BaseLayer):
    """Cosine and sine of position × frequency, once for all layers and samples."""

    source = SOURCE
    rationale = Rationale(
        counted="The product, cosine, sine and the attention scaling's multiplications.",
        not_counted="The rotation itself: the attention that is given the angles counts it.",
        assumed="All samples have the same positions: one row of angles for each.",
        would_change="Angles of each layer, as DeepSeek-OCR's code makes them, would be made "
        "again by every layer.",
    )

    q_len: Quantity = dim("S", "positions", "tokens")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def forward(self) -> Iterator[Step]:
        half = exact_div(self.head_dim, 2)
        angles, doubled = (
            Tensor(n, self.q_len * width, "float32")
            for n, width in (("angles", half), ("angles, twice", self.head_dim))
        )
        positions = Tensor("p", self.q_len, "float32")
        inv_freq = Tensor("inv_freq", half, "float32", "buffer")
        values, scaled = (
            [Tensor(f"{f}{of}", doubled.elements, "float32") for f in ("cos", "sin")]
            for of in (" of the angles", ", scaled")
        )
        outputs = [Tensor(f, doubled.elements) for f in ("cos", "sin")]
        steps: list[tuple[str, str, Quantity, tuple[Tensor, ...], Tensor]] = [
            (
                "positions as float32",
                "copy",
                0,
                (Tensor("positions", self.q_len, "int64"),),
                positions,
            ),
            ("position × frequency", "rope", angles.elements, (positions, inv_freq), angles),
            ("angles for both halves", "copy", 0, (angles,), doubled),
        ]
        for f, value, wide in zip(("cos", "sin"), values, scaled, strict=True):
            steps += [
                (f, "rope", value.elements, (doubled,), value),
                (f"{f} × scaling", "rope", value.elements, (value,), wide),
            ]
        steps += [
            (f"{output.name} as bfloat16", "copy", 0, (wide,), output)
            for wide, output in zip(scaled, outputs, strict=True)
        ]
        for name, category, flops, reads, write in steps:
            yield Operation(
                name,
                category,
                elementwise_flops=flops,
                reads=reads,
                writes=(write,),
                kernel="angles",
            )
        yield keep(angles, doubled, *scaled, *outputs)


@layer
class UnlimitedOcrTextAttention(BaseLayer):
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

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions a sample", "tokens")
    kv_len: Quantity = dim("K", "positions that are attended to", "tokens")
    window: Quantity = dim("s", "of those, positions after the prompt", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")
    heads: Quantity = dim("H", "heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    decodes: bool = False

    def kv_cache(self) -> Iterator[Tensor]:
        for kind in ("keys", "values"):
            yield self._part(f"prompt's {kind}", self.kv_len - self.window)
            if self.decodes:
                yield self._part(f"window's {kind}", self.window)

    def _part(self, name: str, positions: Quantity) -> Tensor:
        elements = self.batch * positions * self.heads * self.head_dim
        return Tensor(name, elements, role="kv_cache", columns=self.head_dim)

    def forward(self) -> Iterator[Step]:
        rows, width = self.batch * self.q_len, self.heads * self.head_dim
        queries = self.batch * self.heads * self.q_len
        x, y = (Tensor(n, rows * self.hidden_size) for n in ("x", "y"))
        q, k, v, rotated, o = (Tensor(n, rows * width) for n in ("q", "k", "v", "rotated q", "o"))
        for tensor in (q, k, v):
            linear = Linear(rows=rows, d_in=self.hidden_size, d_out=width)
            yield Child(f"{tensor.name}_proj", linear, reads=(x,), writes=(tensor,))
        for name in ("q", "k"):
            yield from rotate(name, rows, self.heads, self.head_dim, self.q_len)
        yield keep(q, k)
        yield from self._append(rows * width)
        attended = list(self.kv_cache())
        if self.decodes:
            yield from self._join()
            elements = self.batch * self.kv_len * width
            attended = [Tensor(f"all {kind}", elements) for kind in ("keys", "values")]
        # The cache's update is handed both, and holds them until it returns.
        yield keep(Tensor("rotated k", rows * width), v)
        mask = Tensor("mask", self.q_len * self.kv_len, "bool")
        yield Operation(
            "scaled dot-product attention",
            "attention",
            products=(
                Product(queries, self.head_dim, self.kv_len, self.batch * self.heads),
                Product(queries, self.kv_len, self.head_dim, self.batch * self.heads),
            ),
            causal_matmul_flops=4 * self._causal_pairs() * self.head_dim,
            elementwise_flops=(costs.SOFTMAX + 1) * queries * self.kv_len,
            unit="tensor",
            reads=(rotated, *attended, mask),
            writes=(o,),
            saved_for_backward=(
                rotated,
                *attended,
                mask,
                o,
                Tensor("log-sum-exp", queries, "float32"),
            ),
            recomputes=True,
            kernel="attention",
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax and the mask for each "
            "pair. All samples share one mask.",
        )
        o_proj = Linear(rows=rows, d_in=width, d_out=self.hidden_size)
        yield Child("o_proj", o_proj, reads=(o,), writes=(y,))
        yield keep(rotated, *attended)

    def _causal_pairs(self) -> Quantity:
        """Return the pairs that the mask leaves: all old positions, and half of the new."""
        old = self.q_len * (self.kv_len - self.q_len)
        new = exact_div(self.q_len * (self.q_len + 1), 2)
        pairs: Quantity = self.batch * self.heads * (old + new)
        return pairs

    def _append(self, new: Quantity) -> Iterator[Operation]:
        """Yield the append of `new` elements of keys, and as many of values."""
        part = "window's" if self.decodes else "prompt's"
        for kind, name in (("keys", "rotated k"), ("values", "v")):
            added, stored = Tensor(name, new), Tensor(f"new {kind}", new, role="kv_cache")
            size = self.window if self.decodes else self.kv_len
            whole = self._part(f"{part} {kind}", size)
            before = [self._part(f"old {part} {kind}", size - self.q_len)] if self.decodes else []
            yield Operation(
                f"append to the {whole.name}",
                "copy",
                reads=(*before, added),
                writes=(whole,),
                in_place=((added,), (stored,)),
                kernel="append to the cache",
                why="Eagerly a concatenation: the window's old positions are read and written "
                "again. Fused: only the new ones are written, in place.",
            )

    def _join(self) -> Iterator[Operation]:
        """Yield the join of both parts of the cache."""
        parts = list(self.kv_cache())
        for kind, both in (("keys", parts[:2]), ("values", parts[2:])):
            elements = both[0].elements + both[1].elements
            yield Operation(
                f"join the {kind}",
                "copy",
                reads=tuple(both),
                writes=(Tensor(f"all {kind}", elements),),
                kernel="attention",
                why="Eagerly the whole prompt is copied at every step; a fused kernel reads both "
                "parts where they lie.",
            )
