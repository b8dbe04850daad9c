"""GOT-OCR-2.0's own modules, as transformers ships them."""

from mkdocs_dsocr.layers.got.model import (
    GotOcr2FeaturesPart,
    GotOcr2ForConditionalGeneration,
    GotOcr2LanguagePart,
    GotOcr2VisionPart,
    TiedLMHead,
)
from mkdocs_dsocr.layers.got.text import Qwen2DecoderLayer, Qwen2Model
from mkdocs_dsocr.layers.got.vision import GotOcr2MultiModalProjector, GotOcr2VisionEncoder

__all__ = [
    "GotOcr2FeaturesPart",
    "GotOcr2ForConditionalGeneration",
    "GotOcr2LanguagePart",
    "GotOcr2MultiModalProjector",
    "GotOcr2VisionEncoder",
    "GotOcr2VisionPart",
    "Qwen2DecoderLayer",
    "Qwen2Model",
    "TiedLMHead",
]
