"""Unlimited-OCR's own modules, as transformers ships them."""

from mkdocs_dsocr.layers.unlimited.attention import (
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextRotaryEmbedding,
)
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

__all__ = [
    "SiLUActivation",
    "UnlimitedOcrTextAttention",
    "UnlimitedOcrTextExperts",
    "UnlimitedOcrTextMLP",
    "UnlimitedOcrTextMoe",
    "UnlimitedOcrTextRMSNorm",
    "UnlimitedOcrTextRotaryEmbedding",
    "UnlimitedOcrTextTopkRouter",
]
