"""DeepSeek-OCR in our own PyTorch: the public checkpoint's shapes and names, without weights."""
