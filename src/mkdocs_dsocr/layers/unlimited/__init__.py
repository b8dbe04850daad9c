"""Unlimited-OCR's own modules, as transformers ships them."""

from mkdocs_dsocr.layers.unlimited.attention import (
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.clip import UnlimitedOcrVisionEncoder, UnlimitedOcrVisionModel
from mkdocs_dsocr.layers.unlimited.decoder import UnlimitedOcrTextMLP, UnlimitedOcrTextRMSNorm
from mkdocs_dsocr.layers.unlimited.experts import UnlimitedOcrTextMoe
from mkdocs_dsocr.layers.unlimited.model import (
    UnlimitedFeaturesPart,
    UnlimitedLanguagePart,
    UnlimitedOcrForConditionalGeneration,
    UnlimitedVisionPart,
)
from mkdocs_dsocr.layers.unlimited.sam_encoder import UnlimitedOcrSamVisionEncoder
from mkdocs_dsocr.layers.unlimited.text import (
    DenseTextLayer,
    SparseTextLayer,
    UnlimitedOcrTextModel,
)

__all__ = [
    "DenseTextLayer",
    "SparseTextLayer",
    "UnlimitedFeaturesPart",
    "UnlimitedLanguagePart",
    "UnlimitedOcrForConditionalGeneration",
    "UnlimitedOcrSamVisionEncoder",
    "UnlimitedOcrTextAttention",
    "UnlimitedOcrTextMLP",
    "UnlimitedOcrTextModel",
    "UnlimitedOcrTextMoe",
    "UnlimitedOcrTextRMSNorm",
    "UnlimitedOcrTextRotaryEmbedding",
    "UnlimitedOcrVisionEncoder",
    "UnlimitedOcrVisionModel",
    "UnlimitedVisionPart",
]
