"""DeepSeek-OCR-2's ``config.json`` as transformers writes it; what it leaves out has a default.

Keys, defaults and their meaning: transformers 5.23.0,
models/deepseek_ocr2/configuration_deepseek_ocr2.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.model_config import (
    ConfigSection,
    Depth,
    EncoderConfig,
    Size,
    check_shapes,
)
from mkdocs_dsocr.models.unlimited_config import (
    SamSection,
    TextSection,
    check_fixed,
    decoder,
    key_of,
    sam_tower,
)

ARCHITECTURE: Final = "DeepseekOcr2ForConditionalGeneration"
_FIXED: Final[dict[str, Any]] = {
    "vision_config.encoder_config.use_sliding_window": False,
    "vision_config.encoder_config.hidden_act": "silu",
    "text_config.hidden_act": "silu",
}


class _Sam(SamSection):
    downsample_channels: tuple[Size, Size] = (512, 896)


class _Encoder(ConfigSection):
    hidden_size: Size = 4096
    intermediate_size: Size = 22_016
    num_hidden_layers: Depth = 32
    num_attention_heads: Size = 32
    num_key_value_heads: Size | None = 32
    layer_types: tuple[str, ...] | None = None


class _Text(TextSection):
    vocab_size: Size = 102_400
    hidden_size: Size = 4096
    intermediate_size: Size = 11_008
    moe_intermediate_size: Size = 1407
    num_hidden_layers: Depth = 32
    num_attention_heads: Size = 32
    num_key_value_heads: Size | None = None
    num_experts_per_tok: Size
    max_position_embeddings: Size = 2048
    mlp_layer_types: tuple[str, ...]


class _Vision(ConfigSection):
    sam_config: _Sam = _Sam()
    encoder_config: _Encoder = _Encoder()


class _File(ConfigSection):
    vision_config: _Vision = _Vision()
    text_config: _Text


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    check_fixed(path, content, ARCHITECTURE, _FIXED)
    file = validate(_File, dict(content), path)
    sam, encoder = file.vision_config.sam_config, file.vision_config.encoder_config
    layers = encoder.num_hidden_layers
    if encoder.layer_types not in (None, ("full_attention",) * layers):
        key, found = "vision_config.encoder_config.layer_types", list(encoder.layer_types or ())
        allowed = f"full_attention for each of {layers} layers"
        raise InputError(path, key, repr_short(found), allowed)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=decoder(path, file.text_config, ARCHITECTURE),
        sam=sam_tower(path, sam),
        encoder=EncoderConfig(
            width=encoder.hidden_size,
            mlp_width=encoder.intermediate_size,
            layers=layers,
            heads=encoder.num_attention_heads,
            kv_heads=encoder.num_key_value_heads or encoder.num_attention_heads,
        ),
        trained_image_size=sam.image_size,
        **ModelConfig.place(path, content),
    )
    check_shapes(path, config, key_of)
    return config
