"""Modules that do what DeepSeek-OCR's do, under the names of transformers."""

from __future__ import annotations

from typing import ClassVar

from mkdocs_dsocr.layers.builtin import SiLU
from mkdocs_dsocr.layers.decoder import DeepseekV2MLP, DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import layer
from mkdocs_dsocr.layers.unlimited.attention import SOURCE


@layer
class SiLUActivation(SiLU):
    """Sigmoid linear unit: x / (1 + exp(−x))."""

    source = "transformers 5.23.0, activations.py"


@layer
class UnlimitedOcrTextRMSNorm(DeepseekV2RMSNorm):
    """Scale every row by the reciprocal of its root mean square, in float32."""

    source = SOURCE


@layer
class UnlimitedOcrTextMLP(DeepseekV2MLP):
    """SwiGLU: down(SiLU(gate(x)) · up(x)), without biases."""

    source = SOURCE
    activation: ClassVar[type[SiLU]] = SiLUActivation
