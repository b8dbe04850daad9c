"""Modules that the decoder takes from Llama."""

from mkdocs_dsocr.layers.llama.attention import (
    AttentionSizes,
    LlamaFlashAttention2,
    RotatedAttention,
    Sequences,
)
from mkdocs_dsocr.layers.llama.rotary import LlamaRotaryEmbedding

__all__ = [
    "AttentionSizes",
    "LlamaFlashAttention2",
    "LlamaRotaryEmbedding",
    "RotatedAttention",
    "Sequences",
]
