"""DeepSeek-OCR's ``config.json``: what it has to say, and what it must not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.config_file import ConfigFile, Fixed
from mkdocs_dsocr.inputs.model_config import (
    ClipConfig,
    ConfigSection,
    LanguageConfig,
    SamConfig,
    Size,
    check_shapes,
)
from mkdocs_dsocr.models.storage import read_storage

ARCHITECTURE: Final = "DeepseekOCRForCausalLM"
LANGUAGE: Final = "language_config"
COMPONENTS: Final = {
    "sam_model": "model.sam_model.blocks",
    "vision_model": "model.vision_model.transformer",
    "projector": "model.projector.layers",
    "lm_head": "lm_head",
    "self_attn": "model.layers.1.self_attn.q_proj",
    "shared_experts": "model.layers.1.mlp.shared_experts.up_proj",
}
"""See :data:`mkdocs_dsocr.models.storage.Components`."""
_PLACES: Final = {
    "sam": "vision_config.width.sam_vit_b",
    "clip": "vision_config.width.clip-l-14-224",
    "trained_image_size": "vision_config.image_size",
}
FIXED: Final[Fixed] = {
    "use_mla": (False,),
    "topk_method": ("greedy", None),
    "n_group": (1, None),
    "topk_group": (1, None),
    "norm_topk_prob": (False, None),
    "scoring_func": ("softmax", None),
    "routed_scaling_factor": (constants.ROUTED_SCALING_FACTOR, None),
    "moe_layer_freq": (1, None),
    "num_nextn_predict_layers": (0, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "tie_word_embeddings": (False, None),
    "lm_head": (True, None),
    "rm_head": (False, None),
    "hidden_act": ("silu", None),
    "rms_norm_eps": (constants.RMS_NORM_EPS, None),
    "rope_theta": (constants.ROPE_THETA, None),
    "rope_scaling": (None,),
    "rope_parameters": ({"rope_type": "default", "rope_theta": constants.ROPE_THETA}, None),
    "partial_rotary_factor": (1, None),
    "pretraining_tp": (1, None),
    "ep_size": (1, None),
    "use_sliding_window": (False, None),
    "layer_types": (None,),
}
"""What the decoder must not have otherwise, wherever it stands."""
FULL_ATTENTION: Final[Fixed] = {"sliding_window": (None,), "sliding_window_size": (None,)}
TOP: Final[Fixed] = {"tile_tag": ("2D", None), "global_view_pos": ("head", None)}
SAM: Final[Fixed] = {
    "patch_size": (constants.SAM_PATCH, None),
    "window_size": (constants.SAM_WINDOW, None),
}
PROJECTOR: Final[Fixed] = {"projector_type": ("linear",)}


class _Towers(ConfigSection):
    sam_vit_b: SamConfig
    clip: ClipConfig = Field(alias="clip-l-14-224")


class _Vision(ConfigSection):
    image_size: Size
    width: _Towers


class _Projector(ConfigSection):
    input_dim: Size
    n_embed: Size


class _File(ConfigSection):
    vision_config: _Vision
    projector_config: _Projector


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    file = ConfigFile(path, content)
    if file.get("model_type") in ("unlimited-ocr", "unlimited_ocr"):
        allowed = "deepseek_vl_v2, or architectures: ['UnlimitedOCRForCausalLM'] for Unlimited-OCR"
        raise file.refuse("model_type", f"{allowed}: architectures says {ARCHITECTURE}")
    return published(file, ARCHITECTURE, FULL_ATTENTION, COMPONENTS)


def published(
    file: ConfigFile,
    architecture: str,
    attention: Fixed,
    components: Mapping[str, str],
    **more: Any,
) -> ModelConfig:
    """Return the dimensions of a file in the layout of DeepSeek-OCR's checkpoint.

    Parameters
    ----------
    file
        The config.json.
    architecture
        The model that it is of.
    attention
        Keys of the decoder's attention that must have one value.
    components
        Modules that may stay in 16 bits.
    more
        Further fields of the decoder and of the result: ``sliding_window``, ``notes``.

    Raises
    ------
    InputError
        If a key is missing, contradicts another one, or makes other formulas.
    """
    decoder = file.merged(LANGUAGE)
    file.check(LANGUAGE, {**FIXED, **attention}, architecture, merged=True)
    window = more.pop("sliding_window", None)
    fields = {**decoder, "sliding_window": window}
    language = file.validated(LanguageConfig, fields, ("", LANGUAGE))
    file.check(LANGUAGE, {"head_dim": (language.head_dim, None)}, architecture, merged=True)
    file.check("", TOP, architecture)
    file.check(_PLACES["sam"], SAM, architecture)
    file.check("projector_config", PROJECTOR, architecture)
    whole = file.validated(_File, file.content, ("",))
    towers = whole.vision_config.width
    config = ModelConfig(
        architecture=architecture,
        language=language,
        sam=towers.sam_vit_b,
        clip=towers.clip,
        trained_image_size=whole.vision_config.image_size,
        storage=read_storage(file, ("", LANGUAGE), components),
        **ModelConfig.place(file),
        **more,
    )
    _check_projector(file, config, whole.projector_config)
    check_shapes(file.path, config, _key)
    return config.model_copy(update={"unused_keys": file.unused})


def _key(dimension: str) -> str:
    """Return where config.json states a dimension."""
    part, _, name = dimension.partition(".")
    return ".".join(k for k in (_PLACES.get(part, ""), name) if k)


def _check_projector(file: ConfigFile, config: ModelConfig, projector: _Projector) -> None:
    hidden, joined = config.language.hidden_size, config.tower(ClipConfig).width
    joined += config.sam.downsample_channels[-1]
    checks = (
        ("n_embed", projector.n_embed, hidden, f"hidden_size = {hidden}"),
        (
            "input_dim",
            projector.input_dim,
            joined,
            f"CLIP's width and SAM's last channels together, {joined}",
        ),
    )
    for key, found, right, allowed in checks:
        if found != right:
            raise file.refuse(f"projector_config.{key}", allowed)
