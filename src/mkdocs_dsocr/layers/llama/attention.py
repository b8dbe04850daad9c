"""LlamaFlashAttention2: causal attention with rotary positions and a KV cache."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Linear, dot_product_attention
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.llama.rotary import LlamaRotaryEmbedding, rotate
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise, keep
from mkdocs_dsocr.quantities import Quantity, exact_div


@layer
class Sequences(BaseLayer):
    """The dimensions of what works on a batch of samples with known and new positions."""

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions per sample", "tokens")
    kv_len: Quantity = dim("K", "positions in the cache after the append", "tokens")
    hidden_size: Quantity = dim("h", "hidden size", "elements")

    def causal_pairs(self, heads: Quantity) -> Quantity:
        """Return the pairs that a causal mask leaves: all old positions, and half of the new."""
        old = self.q_len * (self.kv_len - self.q_len)
        new = exact_div(self.q_len * (self.q_len + 1), 2)
        pairs: Quantity = self.batch * heads * (old + new)
        return pairs


@layer
class AttentionSizes(Sequences):
    """The dimensions and choices of an attention, and of a decoder layer with one."""

    heads: Quantity = dim("H", "query heads")
    kv_heads: Quantity = dim("H_kv", "key and value heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    cached: bool = False
    grouped: bool = False


@layer
class RotatedAttention(Sequences):
    """What attentions share that are given the angles of their positions.

    Four projections, the rotation of queries and keys, and the attention of the queries to what
    :meth:`_attended` gives.
    """

    projection_bias: ClassVar[bool] = False
    """Whether the projections to queries, keys and values add a bias."""
    flops_per_pair: ClassVar[int] = costs.SOFTMAX
    attention_why: ClassVar[str] = ""

    heads: Quantity = dim("H", "heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def _key_heads(self) -> Quantity:
        """Return the heads of keys and of values."""
        return self.heads

    def _attended(self, k: Tensor, v: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield what becomes of rotated keys and of values, and return what queries attend to."""
        raise NotImplementedError

    def _mask(self) -> tuple[Tensor, ...]:
        """Return the mask, where there is one."""
        return ()

    def _pairs_left(self) -> Quantity:
        """Return the pairs that a mask leaves."""
        return self.causal_pairs(self.heads)

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        queries = self.batch * self.heads * self.q_len
        width, key_width = self.heads * self.head_dim, self._key_heads() * self.head_dim
        x, y = (Tensor(n, rows * self.hidden_size) for n in ("x", "y"))
        q, rotated, o = (Tensor(n, rows * width) for n in ("q", "rotated q", "o"))
        k, rotated_k, v = (Tensor(n, rows * key_width) for n in ("k", "rotated k", "v"))
        for tensor, d_out in ((q, width), (k, key_width), (v, key_width)):
            linear = Linear(
                rows=rows, d_in=self.hidden_size, d_out=d_out, bias=self.projection_bias
            )
            yield Child(f"{tensor.name}_proj", linear, reads=(x,), writes=(tensor,))
        for name, heads in (("q", self.heads), ("k", self._key_heads())):
            yield from rotate(name, rows, heads, self.head_dim, self.q_len)
        yield keep(q, k)
        attended = yield from self._attended(rotated_k, v)
        yield dot_product_attention(
            "scaled dot-product attention",
            (queries, self.kv_len, self.head_dim),
            self.batch * self.heads,
            (rotated, *attended),
            o,
            flops_per_pair=self.flops_per_pair,
            causal_pairs=self._pairs_left(),
            mask=self._mask(),
            kernel="attention",
            why=self.attention_why,
        )
        o_proj = Linear(rows=rows, d_in=width, d_out=self.hidden_size)
        yield Child("o_proj", o_proj, reads=(o,), writes=(y,))
        yield keep(rotated, *self._held(rotated_k, v, attended))

    def _held(self, k: Tensor, v: Tensor, attended: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the keys and values that the code holds until the call returns."""
        return attended


@layer
class LlamaFlashAttention2(AttentionSizes):
    """Causal multi-head attention with rotary positions, FlashAttention and a KV cache.

    Queries of the S new positions meet all K positions of the cache: K = S in
    the prefill, S = 1 in a decode step.
    """

    source = "transformers 4.46.3, models/llama/modeling_llama.py"
    rationale = Rationale(
        counted="Four projections, rotation of q and k, the append to the cache, attention over "
        "all S·K pairs in full, as PyTorch's counter does: no causal halving. In a prefill, the "
        "check of FlashAttention's wrapper that positions are those of one sequence.",
        not_counted="The saving of a causal kernel in FLOPs: it skips (S − 1)/2S of the pairs when "
        "K = S. The estimated time is that of a kernel that skips them in whole tiles.",
        assumed="FlashAttention keeps the scores on chip and reads the cache once; new keys and "
        "values are appended in place.",
        would_change="The eager class would write and read B·H·S·K float32 scores. A cache that "
        "grows by concatenation would copy all of it at every step.",
    )

    def kv_cache(self) -> Iterator[Tensor]:
        elements = self.batch * self.kv_len * self.kv_heads * self.head_dim
        yield Tensor("keys", elements, role="kv_cache", columns=self.head_dim)
        yield Tensor("values", elements, role="kv_cache", columns=self.head_dim)

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        q_width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        queries = self.batch * self.heads * self.q_len
        x, y = (Tensor(n, rows * self.hidden_size) for n in ("x", "y"))
        q, rotated, o = (Tensor(n, rows * q_width) for n in ("q", "rotated q", "o"))
        k, v = (Tensor(n, rows * kv_width) for n in ("k", "v"))
        angles = [Tensor(n, rows * self.head_dim) for n in ("cos", "sin")]
        positions = Tensor("positions", self.q_len, "int64")
        rotary = self.inner(LlamaRotaryEmbedding)
        for tensor, width in ((q, q_width), (k, kv_width), (v, kv_width)):
            linear = Linear(rows=rows, d_in=self.hidden_size, d_out=width)
            yield Child(f"{tensor.name}_proj", linear, reads=(x,), writes=(tensor,))
        yield Child("rotary_emb", rotary, reads=(positions,), writes=tuple(angles))
        for name, heads in (("q", self.heads), ("k", self.kv_heads)):
            yield from rotate(name, rows, heads, self.head_dim, rows)
        yield keep(q, k)
        if self.cached:
            old = self.batch * (self.kv_len - self.q_len) * kv_width
            yield from append_both(self.kv_cache(), old, rows * kv_width, self.head_dim)
        yield keep(v)
        keys, values = self.kv_cache()
        if self.grouped:
            yield from self._repeat(keys, values, self.batch * self.kv_len * q_width)
            keys, values = (
                Tensor(f"{t.name}, for every head", self.batch * self.kv_len * q_width)
                for t in (keys, values)
            )
        if not self.cached:
            yield from self._one_sequence(positions)
        yield dot_product_attention(
            "FlashAttention",
            (queries, self.kv_len, self.head_dim),
            self.batch * self.heads,
            (rotated, keys, values),
            o,
            causal_pairs=self.causal_pairs(self.heads),
            kernel="FlashAttention",
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax over each row of pairs. "
            "One kernel reads q and the whole cache, writes the output, and keeps scores on chip.",
        )
        o_proj = Linear(rows=rows, d_in=q_width, d_out=self.hidden_size)
        yield Child("o_proj", o_proj, reads=(o,), writes=(y,))
        yield keep(*angles, rotated, keys, values)

    def _one_sequence(self, positions: Tensor) -> Iterator[Operation]:
        """Yield the check of FlashAttention's wrapper that a prompt is one sequence."""
        pairs = self.batch * (self.q_len - 1)
        difference = Tensor("position steps", pairs, "int64")
        rises, all_rise = Tensor("step ≥ 0", pairs, "bool"), Tensor("all steps ≥ 0", 1, "bool")
        step = partial(elementwise, category="attention", kernel="check of positions")
        yield step("position steps", pairs, (positions,), difference)
        yield step("position steps ≥ 0", pairs, (difference,), rises)
        yield step(
            "one sequence?",
            pairs,
            (rises,),
            all_rise,
            pattern="reduction",
            host_syncs=1,
            why="The host waits for the answer before it launches the attention of each layer.",
        )

    def _repeat(self, keys: Tensor, values: Tensor, wide: Quantity) -> Iterator[Operation]:
        """Yield the repetition of each key and value for the queries of its group."""
        for cache in (keys, values):
            yield copy(
                f"{cache.name} for every head",
                cache,
                Tensor(f"{cache.name}, for every head", wide),
                kernel="FlashAttention",
                why="Eagerly a copy; a fused kernel reads each one where it lies.",
            )


def append_both(
    caches: Iterable[Tensor], old: Quantity, new: Quantity, columns: Quantity
) -> Iterator[Operation]:
    """Yield the append of new keys, and of as many new values, to the cache.

    Parameters
    ----------
    caches
        Keys and values after the append.
    old, new
        Elements of each before it, and added ones.
    columns
        Width of a head.
    """
    for name, cache in zip(("rotated k", "v"), caches, strict=True):
        before, stored = (
            Tensor(f"{n} {cache.name}", size, role="kv_cache", columns=columns)
            for n, size in (("old", old), ("new", new))
        )
        yield append(
            cache,
            (before, Tensor(name, new)),
            stored,
            "Eagerly a concatenation: all old positions are read and written again. Fused: "
            "only the new ones are written, in place.",
        )


def append(cache: Tensor, reads: tuple[Tensor, ...], stored: Tensor, why: str) -> Operation:
    """Return the append of keys or values to the cache.

    Parameters
    ----------
    cache
        The cache after the append.
    reads
        The old positions, if there are any, and last the new ones.
    stored
        What a fused kernel writes: the new positions alone.
    why
        How the eager and the fused operation differ.
    """
    return Operation(
        f"append to the {cache.name}",
        "copy",
        reads=reads,
        writes=(cache,),
        in_place=((reads[-1],), (stored,)),
        kernel="append to the cache",
        why=why,
    )
