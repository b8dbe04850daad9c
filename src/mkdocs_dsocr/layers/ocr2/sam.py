"""DeepSeek-OCR-2's SAM tower: Unlimited-OCR's modules under other names."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from mkdocs_dsocr.layers.ocr2.names import named
from mkdocs_dsocr.layers.unlimited import UnlimitedOcrSamVisionEncoder
from mkdocs_dsocr.layers.unlimited import sam as unlimited
from mkdocs_dsocr.layers.unlimited.sam_encoder import (
    UnlimitedOcrSamVisionNeck,
    UnlimitedOcrSamVisionProj,
)

own = partial(named, __name__)
DeepseekOcr2SamLayerNorm = own(unlimited.UnlimitedOcrSamLayerNorm, "SamLayerNorm")
DeepseekOcr2SamMLPBlock = own(unlimited.UnlimitedOcrSamMLPBlock, "SamMLPBlock")
DeepseekOcr2SamPatchEmbeddings = own(unlimited.UnlimitedOcrSamPatchEmbeddings, "SamPatchEmbeddings")
DeepseekOcr2SamVisionSdpaAttention = own(
    unlimited.UnlimitedOcrSamVisionSdpaAttention, "SamVisionSdpaAttention"
)
_LAYER: Final[dict[str, Any]] = {
    "module_class": "DeepseekOcr2SamVisionLayer",
    "attention": DeepseekOcr2SamVisionSdpaAttention,
    "mlp": DeepseekOcr2SamMLPBlock,
}
DeepseekOcr2WindowSamLayer = own(unlimited.WindowSamLayer, "WindowSamLayer", **_LAYER)
DeepseekOcr2GlobalSamLayer = own(unlimited.GlobalSamLayer, "GlobalSamLayer", **_LAYER)
DeepseekOcr2SamVisionNeck = own(
    UnlimitedOcrSamVisionNeck, "SamVisionNeck", norm=DeepseekOcr2SamLayerNorm
)
DeepseekOcr2SamVisionProj = own(UnlimitedOcrSamVisionProj, "SamVisionProj")
DeepseekOcr2SamVisionEncoder = own(
    UnlimitedOcrSamVisionEncoder,
    "SamVisionEncoder",
    embedding=DeepseekOcr2SamPatchEmbeddings,
    kinds=(DeepseekOcr2WindowSamLayer, DeepseekOcr2GlobalSamLayer),
    neck=DeepseekOcr2SamVisionNeck,
    proj=DeepseekOcr2SamVisionProj,
)
