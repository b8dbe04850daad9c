"""DeepSeek-OCR-2's decoder: causal attention to all tokens, and Unlimited-OCR's experts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from mkdocs_dsocr.layers.decoder.decoder_layer import Dense, RotatedDecoderLayer
from mkdocs_dsocr.layers.decoder.moe import ExpertSizes
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.layer import Rationale, Step, layer
from mkdocs_dsocr.layers.llama import LlamaFlashAttention2, RotatedAttention
from mkdocs_dsocr.layers.llama.attention import append_both
from mkdocs_dsocr.layers.ocr2.names import SOURCE, named
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.layers.unlimited import (
    SparseTextLayer,
    UnlimitedOcrTextMLP,
    UnlimitedOcrTextMoe,
    UnlimitedOcrTextRMSNorm,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.experts import (
    UnlimitedOcrTextExperts,
    UnlimitedOcrTextTopkRouter,
)

own = partial(named, __name__)
DeepseekOcr2TextRMSNorm = own(UnlimitedOcrTextRMSNorm, "TextRMSNorm")
DeepseekOcr2TextMLP = own(UnlimitedOcrTextMLP, "TextMLP")
DeepseekOcr2TextRotaryEmbedding = own(UnlimitedOcrTextRotaryEmbedding, "TextRotaryEmbedding")
DeepseekOcr2TextTopkRouter = own(UnlimitedOcrTextTopkRouter, "TextTopkRouter")
DeepseekOcr2TextExperts = own(UnlimitedOcrTextExperts, "TextExperts")
DeepseekOcr2TextMoe = own(
    UnlimitedOcrTextMoe,
    "TextMoe",
    router=DeepseekOcr2TextTopkRouter,
    grouped=DeepseekOcr2TextExperts,
    mlp=DeepseekOcr2TextMLP,
)


@layer
class DeepseekOcr2TextAttention(RotatedAttention):
    """Causal multi-head attention of the new tokens to all tokens."""

    source = SOURCE
    rationale = LlamaFlashAttention2.rationale._replace(
        assumed="A fused kernel keeps the scores on chip and reads the cache once; new keys and "
        "values are appended in place.",
        would_change="A cache of fixed size would not copy all of it at every step.",
    )
    attention_why = (
        "Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax for each pair. The kernel knows "
        "that it is causal: there is no mask."
    )

    def kv_cache(self) -> Iterator[Tensor]:
        elements = self.batch * self.kv_len * self.heads * self.head_dim
        for name in ("keys", "values"):
            yield Tensor(name, elements, role="kv_cache", columns=self.head_dim)

    def _attended(self, k: Tensor, v: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        old = self.batch * (self.kv_len - self.q_len) * self.heads * self.head_dim
        yield from append_both(self.kv_cache(), old, k.elements, self.head_dim)
        # The cache's update is handed both, and holds them until it returns.
        yield keep(k, v)
        return tuple(self.kv_cache())


@layer
class _Ocr2Layer(RotatedDecoderLayer):
    """DeepSeek-OCR-2's own in both kinds of decoder layer."""

    module_class = "DeepseekOcr2TextDecoderLayer"
    definition = (
        "Pre-norm decoder layer: causal attention, then a dense MLP in the first layers and a "
        "mixture of experts in all others, each with a residual."
    )
    source = SOURCE
    norm = DeepseekOcr2TextRMSNorm
    attention = DeepseekOcr2TextAttention


@layer
class DenseOcr2Layer(Dense, _Ocr2Layer):
    """Pre-norm decoder layer with a dense SwiGLU MLP: the first layers of the stack."""

    mlp = DeepseekOcr2TextMLP


@layer
class SparseOcr2Layer(ExpertSizes, _Ocr2Layer):
    """Pre-norm decoder layer whose MLP is a mixture of experts."""

    rationale = SparseTextLayer.rationale
    mlp = DeepseekOcr2TextMoe


@layer
class DeepseekOcr2TextModel(Stack):
    """The decoder: one set of angles for all layers, the layers, the last norm."""

    source = SOURCE
    rationale = Rationale(
        counted="Positions, the angles, every layer, the last norm.",
        not_counted="The embedding of tokens and the features' places: the model that calls it.",
        assumed="One set of positions for all samples and all layers.",
        would_change="Prefill sees all tokens at once and is bound by compute; decode sees one "
        "token per sample and is bound by reading weights and cache.",
    )
    norm = DeepseekOcr2TextRMSNorm
    rotary = DeepseekOcr2TextRotaryEmbedding

    def _mask(self) -> Generator[Step, None, tuple[Tensor, ...]]:
        counted, positions = (Tensor(n, self.q_len, "int64") for n in ("0 … S", "positions"))
        yield elementwise("count new positions", 0, (), counted, category="embedding")
        yield elementwise("+ past", self.q_len, (counted,), positions, category="embedding")
        return ()
