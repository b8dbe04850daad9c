"""Modules that the decoder takes from Llama."""

from mkdocs_dsocr.layers.llama.attention import LlamaFlashAttention2
from mkdocs_dsocr.layers.llama.rotary import LlamaRotaryEmbedding

__all__ = ["LlamaFlashAttention2", "LlamaRotaryEmbedding"]
