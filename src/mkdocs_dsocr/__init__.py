"""Static analysis of DeepSeek-OCR as an MkDocs site: a page a layer, a formula a number."""

__version__ = "0.1.0"
