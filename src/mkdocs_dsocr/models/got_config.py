"""GOT-OCR-2.0's ``config.json`` as transformers writes it.

Keys and their meaning: transformers 5.23.0, models/got_ocr2/configuration_got_ocr2.py, whose
defaults are the values of the published model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.config_file import ConfigFile, Fixed
from mkdocs_dsocr.inputs.model_config import (
    EXPERTS,
    ConfigSection,
    Depth,
    LanguageConfig,
    SamConfig,
    Size,
    check_shapes,
)
from mkdocs_dsocr.inputs.workload import VIEW
from mkdocs_dsocr.models.storage import read_storage
from mkdocs_dsocr.models.unlimited_config import SAM_FIXED

ARCHITECTURE: Final = "GotOcr2ForConditionalGeneration"
COMPONENTS: Final = {
    "vision_tower": "model.vision_tower.layers",
    "multi_modal_projector": "model.multi_modal_projector.multimodal_projector",
    "self_attn": "model.language_model.layers.1.self_attn.q_proj",
}
"""See :data:`mkdocs_dsocr.models.storage.Components`."""
TIED: Final = "lm_head"
"""It has the embedding's weights, which no format of a workload quantises."""
_KEYS: Final = {
    "language": "text_config",
    "sam": "vision_config",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "trained_image_size": "vision_config.image_size",
}
_TEXT_FIXED: Final[Fixed] = {
    "model_type": ("qwen2", None),
    "hidden_act": ("silu", None),
    "rms_norm_eps": (constants.RMS_NORM_EPS, None),
    "rope_theta": (constants.QWEN2_ROPE_THETA, None),
    "rope_scaling": (None,),
    "rope_parameters": ({"rope_type": "default", "rope_theta": constants.QWEN2_ROPE_THETA}, None),
    "use_sliding_window": (False, None),
    "tie_word_embeddings": (True, None),
}
_ATTENTION: Final = "full_attention"


class _Text(ConfigSection):
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    num_key_value_heads: Size
    vocab_size: Size
    max_position_embeddings: Size


class _Vision(ConfigSection):
    hidden_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    mlp_dim: Size
    image_size: Size
    global_attn_indexes: tuple[Annotated[int, Field(ge=0)], ...]


class _File(ConfigSection):
    vision_config: _Vision
    text_config: _Text


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    file = ConfigFile(path, content)
    sections = {"text_config": _TEXT_FIXED, "vision_config": SAM_FIXED}
    for section, fixed in {**sections, "": {"tie_word_embeddings": (True, None)}}.items():
        file.check(section, fixed, ARCHITECTURE)
    whole = file.validated(_File, file.content, ("",))
    text, vision = whole.text_config, whole.vision_config
    heads, layers = text.num_attention_heads, text.num_hidden_layers
    width = constants.SAM_MLP_RATIO * vision.hidden_size
    sees_all = [_ATTENTION] * layers
    file.check("text_config", {"layer_types": (sees_all, None)}, ARCHITECTURE)
    file.check("text_config", {"num_key_value_heads": (heads,)}, ARCHITECTURE)
    file.check("vision_config", {"mlp_dim": (width,)}, ARCHITECTURE)
    if not VIEW.allows(vision.image_size):
        raise file.refuse("vision_config.image_size", str(VIEW))
    storage = read_storage(file, ("", "text_config"), COMPONENTS)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=LanguageConfig(
            **text.model_dump(), **dict.fromkeys(EXPERTS, 0), first_k_dense_replace=layers
        ),
        sam=SamConfig(
            width=vision.hidden_size,
            layers=vision.num_hidden_layers,
            heads=vision.num_attention_heads,
            global_attn_indexes=vision.global_attn_indexes,
            downsample_channels=(constants.GOT_MID_RATIO * constants.SAM_NECK, text.hidden_size),
        ),
        trained_image_size=vision.image_size,
        storage=storage.model_copy(update={"kept": (*storage.kept, TIED)}),
        **ModelConfig.place(file),
    )
    check_shapes(path, config, _key_of)
    return config.model_copy(update={"unused_keys": file.unused})


def _key_of(dimension: str) -> str:
    """Return where config.json states a dimension."""
    return ".".join(_KEYS.get(name, name) for name in dimension.split("."))
