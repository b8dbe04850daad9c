"""DeepSeek-OCR-2's ``config.json`` as transformers writes it in full.

Keys and their meaning: transformers 5.23.0, models/deepseek_ocr2/configuration_deepseek_ocr2.py.
The file that ships has the values that transformers' script for the conversion of the published
checkpoint writes (src/transformers/models/deepseek_ocr2/convert_deepseek_ocr2_weights_to_hf.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.config_file import ConfigFile, Fixed
from mkdocs_dsocr.inputs.model_config import (
    ConfigSection,
    Depth,
    EncoderConfig,
    Size,
    check_shapes,
)
from mkdocs_dsocr.models.storage import read_storage
from mkdocs_dsocr.models.unlimited_config import (
    PORTED,
    SAM_FIXED,
    TEXT_FIXED,
    SamSection,
    TextSection,
    decoder,
    key_of,
    sam_tower,
)

ARCHITECTURE: Final = "DeepseekOcr2ForConditionalGeneration"
_ENCODER: Final = "vision_config.encoder_config"
_ENCODER_FIXED: Final[Fixed] = {
    "hidden_act": ("silu", None),
    "use_sliding_window": (False, None),
    "sliding_window": (None,),
    "tie_word_embeddings": (False, None),
    "rms_norm_eps": (constants.RMS_NORM_EPS, None),
    "rope_parameters": ({"rope_type": "default", "rope_theta": constants.QWEN2_ROPE_THETA}, None),
}
_FIXED: Final[Mapping[str, Fixed]] = {
    "text_config": {
        **TEXT_FIXED,
        "use_sliding_window": (False, None),
        "sliding_window": (None,),
        "layer_types": (None,),
    },
    "vision_config.sam_config": SAM_FIXED,
    _ENCODER: _ENCODER_FIXED,
    "": {"tie_word_embeddings": (False, None)},
}


class _Encoder(ConfigSection):
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    num_key_value_heads: Size


class _Vision(ConfigSection):
    sam_config: SamSection
    encoder_config: _Encoder


class _File(ConfigSection):
    vision_config: _Vision
    text_config: TextSection


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    file = ConfigFile(path, content)
    for section, fixed in _FIXED.items():
        file.check(section, fixed, ARCHITECTURE)
    whole = file.validated(_File, file.content, ("",))
    sam, encoder = whole.vision_config.sam_config, whole.vision_config.encoder_config
    layers = encoder.num_hidden_layers
    if file.get(f"{_ENCODER}.layer_types") not in (None, ["full_attention"] * layers):
        raise file.refuse(f"{_ENCODER}.layer_types", f"full_attention for each of {layers} layers")
    file.get(f"{_ENCODER}.vocab_size")  # it embeds no tokens
    language = decoder(path, whole.text_config, ARCHITECTURE)
    file.check("text_config", {"head_dim": (language.head_dim, None)}, ARCHITECTURE)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=language,
        sam=sam_tower(path, sam),
        encoder=EncoderConfig(
            width=encoder.hidden_size,
            mlp_width=encoder.intermediate_size,
            layers=layers,
            heads=encoder.num_attention_heads,
            kv_heads=encoder.num_key_value_heads,
        ),
        trained_image_size=sam.image_size,
        storage=read_storage(file, ("", "text_config"), PORTED),
        **ModelConfig.place(file),
    )
    check_shapes(path, config, key_of)
    return config.model_copy(update={"unused_keys": file.unused})
