"""DeepSeek-OCR in our own PyTorch: the public checkpoint's shapes and names, without weights."""

from mkdocs_dsocr.tracing.reference.decoder import KVCache
from mkdocs_dsocr.tracing.reference.model import Page

__all__ = ["KVCache", "Page"]
