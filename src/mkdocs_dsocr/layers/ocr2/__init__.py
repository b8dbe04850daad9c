"""DeepSeek-OCR-2's own modules, as their difference from Unlimited-OCR's."""

from mkdocs_dsocr.layers.ocr2.encoder import (
    DeepseekOcr2VisionEncoder,
    DeepseekOcr2VisionEncoderLayer,
    DeepseekOcr2VisionModel,
)
from mkdocs_dsocr.layers.ocr2.model import (
    DeepseekOcr2FeaturesPart,
    DeepseekOcr2ForConditionalGeneration,
    DeepseekOcr2LanguagePart,
    DeepseekOcr2VisionPart,
)
from mkdocs_dsocr.layers.ocr2.sam import DeepseekOcr2SamVisionEncoder
from mkdocs_dsocr.layers.ocr2.text import (
    DeepseekOcr2TextModel,
    DenseOcr2Layer,
    SparseOcr2Layer,
)

__all__ = [
    "DeepseekOcr2FeaturesPart",
    "DeepseekOcr2ForConditionalGeneration",
    "DeepseekOcr2LanguagePart",
    "DeepseekOcr2SamVisionEncoder",
    "DeepseekOcr2TextModel",
    "DeepseekOcr2VisionEncoder",
    "DeepseekOcr2VisionEncoderLayer",
    "DeepseekOcr2VisionModel",
    "DeepseekOcr2VisionPart",
    "DenseOcr2Layer",
    "SparseOcr2Layer",
]
