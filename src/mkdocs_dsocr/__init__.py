"""Static analysis of DeepSeek-OCR as an MkDocs site: one page per layer, one formula per number."""

__version__ = "0.1.0"
