"""Where GOT-OCR-2.0's modules are defined."""

from __future__ import annotations

from typing import Final

SOURCE: Final = "transformers 5.23.0, models/got_ocr2/modeling_got_ocr2.py"
QWEN2: Final = "transformers 5.23.0, models/qwen2/modeling_qwen2.py"
