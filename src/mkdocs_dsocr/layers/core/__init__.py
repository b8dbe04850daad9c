"""The model as a whole."""

from mkdocs_dsocr.layers.core.deepseek_ocr import (
    DeepseekOCRForCausalLM,
    LanguagePart,
    ProjectorPart,
    VisionPart,
)

__all__ = ["DeepseekOCRForCausalLM", "LanguagePart", "ProjectorPart", "VisionPart"]
