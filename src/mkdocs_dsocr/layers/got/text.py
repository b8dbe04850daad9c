"""GOT-OCR-2.0's decoder: Qwen2."""

from __future__ import annotations

from typing import Any, Final

from mkdocs_dsocr.layers.got.names import QWEN2
from mkdocs_dsocr.layers.layer import renamed
from mkdocs_dsocr.layers.ocr2.text import (
    DeepseekOcr2TextAttention,
    DeepseekOcr2TextMLP,
    DeepseekOcr2TextModel,
    DeepseekOcr2TextRMSNorm,
    DeepseekOcr2TextRotaryEmbedding,
    DenseOcr2Layer,
)


def _own(kind: type[Any], name: str, **own: Any) -> type[Any]:
    return renamed(kind, f"Qwen2{name}", __name__, source=QWEN2, **own)


Qwen2RMSNorm: Final = _own(DeepseekOcr2TextRMSNorm, "RMSNorm")
Qwen2MLP: Final = _own(DeepseekOcr2TextMLP, "MLP")
Qwen2RotaryEmbedding: Final = _own(DeepseekOcr2TextRotaryEmbedding, "RotaryEmbedding")
Qwen2Attention: Final = _own(DeepseekOcr2TextAttention, "Attention", projection_bias=True)
Qwen2DecoderLayer: Final = _own(
    DenseOcr2Layer,
    "DecoderLayer",
    module_class="Qwen2DecoderLayer",
    definition="",
    norm=Qwen2RMSNorm,
    attention=Qwen2Attention,
    mlp=Qwen2MLP,
)
Qwen2Model: Final = _own(
    DeepseekOcr2TextModel, "Model", norm=Qwen2RMSNorm, rotary=Qwen2RotaryEmbedding
)
