"""DeepSeek-OCR in our own PyTorch: the public checkpoint's shapes and names, without weights."""

from mkdocs_dsocr.reference.decoder import KVCache
from mkdocs_dsocr.reference.model import DeepseekOCRForCausalLM, Page

__all__ = ["DeepseekOCRForCausalLM", "KVCache", "Page"]
