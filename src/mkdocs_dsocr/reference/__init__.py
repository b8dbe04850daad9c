"""DeepSeek-OCR in our own PyTorch: the public checkpoint's shapes and names, without weights."""

from mkdocs_dsocr.reference.decoder import KVCache
from mkdocs_dsocr.reference.model import Page

__all__ = ["KVCache", "Page"]
