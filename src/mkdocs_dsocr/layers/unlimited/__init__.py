"""Unlimited-OCR's own modules, as transformers ships them."""

from mkdocs_dsocr.layers.unlimited.attention import (
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextRotaryEmbedding,
)
from mkdocs_dsocr.layers.unlimited.clip import UnlimitedOcrVisionEncoder, UnlimitedOcrVisionModel
from mkdocs_dsocr.layers.unlimited.decoder import (
    SiLUActivation,
    UnlimitedOcrTextMLP,
    UnlimitedOcrTextRMSNorm,
)
from mkdocs_dsocr.layers.unlimited.experts import (
    UnlimitedOcrTextExperts,
    UnlimitedOcrTextMoe,
    UnlimitedOcrTextTopkRouter,
)
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
    "SiLUActivation",
    "SparseTextLayer",
    "UnlimitedFeaturesPart",
    "UnlimitedLanguagePart",
    "UnlimitedOcrForConditionalGeneration",
    "UnlimitedOcrSamVisionEncoder",
    "UnlimitedOcrTextAttention",
    "UnlimitedOcrTextExperts",
    "UnlimitedOcrTextMLP",
    "UnlimitedOcrTextModel",
    "UnlimitedOcrTextMoe",
    "UnlimitedOcrTextRMSNorm",
    "UnlimitedOcrTextRotaryEmbedding",
    "UnlimitedOcrTextTopkRouter",
    "UnlimitedOcrVisionEncoder",
    "UnlimitedOcrVisionModel",
    "UnlimitedVisionPart",
]
