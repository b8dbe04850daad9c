"""Unlimited-OCR's ``config.json`` as transformers writes it; what it leaves out has a default.

Keys, defaults and their meaning: transformers 5.23.0,
models/unlimited_ocr/configuration_unlimited_ocr.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.model_config import (
    ClipConfig,
    ConfigSection,
    Depth,
    LanguageConfig,
    SamConfig,
    Size,
    check_shapes,
)

ARCHITECTURE: Final = "UnlimitedOcrForConditionalGeneration"
REFERENCE_WINDOW: Final = "reference_sliding_attention"
"""Attention to the prompt and a window of new tokens."""
_KEYS: Final = {
    "language": "text_config",
    "sam": "vision_config.sam_config",
    "clip": "vision_config.encoder_config",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "trained_image_size": "vision_config.sam_config.image_size",
    "first_k_dense_replace": "mlp_layer_types",
}


class _Sam(ConfigSection):
    hidden_size: Size = 768
    num_hidden_layers: Depth = 12
    num_attention_heads: Size = 12
    mlp_dim: Size = 3072
    image_size: Size = 1024
    global_attn_indexes: tuple[Annotated[int, Field(ge=0)], ...] = (2, 5, 8, 11)
    downsample_channels: tuple[Size, Size] = (512, 1024)


class _Clip(ConfigSection):
    hidden_size: Size = 1024
    intermediate_size: Size = 4096
    num_hidden_layers: Depth = 24
    num_attention_heads: Size = 16
    image_size: Size = 224
    patch_size: Size = 14


class _Text(ConfigSection):
    vocab_size: Size = 129_280
    hidden_size: Size = 1280
    intermediate_size: Size = 6848
    moe_intermediate_size: Size = 896
    num_hidden_layers: Depth = 12
    num_attention_heads: Size = 10
    num_key_value_heads: Size | None = 10
    n_routed_experts: Annotated[int, Field(ge=1, le=10_000)] = 64
    n_shared_experts: Size = 2
    num_experts_per_tok: Size = 6
    max_position_embeddings: Size = 32_768
    mlp_layer_types: tuple[str, ...] | None = None
    layer_types: tuple[str, ...] | None = None
    sliding_window: Size = 128


class _Vision(ConfigSection):
    sam_config: _Sam = _Sam()
    encoder_config: _Clip = _Clip()


class _File(ConfigSection):
    vision_config: _Vision = _Vision()
    text_config: _Text = _Text()


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    _check_fixed(path, content)
    file = validate(_File, dict(content), path)
    sam, clip = file.vision_config.sam_config, file.vision_config.encoder_config
    _check_mlps(path, sam, clip)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=_language(path, file.text_config),
        sam=SamConfig(
            width=sam.hidden_size,
            layers=sam.num_hidden_layers,
            heads=sam.num_attention_heads,
            global_attn_indexes=sam.global_attn_indexes,
            downsample_channels=sam.downsample_channels,
        ),
        clip=ClipConfig(
            width=clip.hidden_size,
            layers=clip.num_hidden_layers,
            heads=clip.num_attention_heads,
            image_size=clip.image_size,
            patch_size=clip.patch_size,
        ),
        trained_image_size=sam.image_size,
        **ModelConfig.place(path, content),
    )
    check_shapes(path, config, _key)
    return config


def _language(path: Path, text: _Text) -> LanguageConfig:
    """Return the decoder's dimensions, where it is one that the formulas speak of."""
    layers, heads = text.num_hidden_layers, text.num_attention_heads
    kinds = text.mlp_layer_types or ("dense", *("sparse",) * (layers - 1))
    dense = kinds.count("dense")
    windows = text.layer_types or (REFERENCE_WINDOW,) * layers
    checks: tuple[tuple[str, Any, bool, str], ...] = (
        (
            "mlp_layer_types",
            list(kinds),
            kinds == ("dense",) * dense + ("sparse",) * (layers - dense),
            f"dense layers, then sparse ones, {layers} in all",
        ),
        (
            "layer_types",
            list(windows),
            windows == (REFERENCE_WINDOW,) * layers,
            f"{REFERENCE_WINDOW} for each of {layers} layers",
        ),
        (
            "num_key_value_heads",
            text.num_key_value_heads,
            text.num_key_value_heads in (None, heads),
            f"num_attention_heads = {heads}, as {ARCHITECTURE} has it",
        ),
    )
    for key, value, right, allowed in checks:
        if not right:
            raise InputError(path, f"text_config.{key}", repr_short(value), allowed)
    fields = {k: v for k, v in dict(text).items() if k in LanguageConfig.model_fields}
    return LanguageConfig(
        **{**fields, "num_key_value_heads": heads, "first_k_dense_replace": dense}
    )


def _check_fixed(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what would make other formulas."""
    fixed: tuple[tuple[str, Any], ...] = (
        ("text_config.attention_bias", False),
        ("text_config.mlp_bias", False),
        ("text_config.n_group", 1),
        ("text_config.topk_method", "greedy"),
        ("text_config.tie_word_embeddings", False),
        ("tie_word_embeddings", False),
        ("vision_config.sam_config.patch_size", constants.SAM_PATCH),
        ("vision_config.sam_config.window_size", constants.SAM_WINDOW),
        ("vision_config.sam_config.output_channels", constants.SAM_NECK),
        ("vision_config.sam_config.use_abs_pos", True),
        ("vision_config.sam_config.use_rel_pos", True),
        ("vision_config.sam_config.qkv_bias", True),
    )
    for key, allowed in fixed:
        found = _at(content, key, allowed)
        if found != allowed:
            raise InputError(path, key, repr_short(found), f"{allowed!r}, as {ARCHITECTURE} has it")


def _check_mlps(path: Path, sam: _Sam, clip: _Clip) -> None:
    """Refuse MLPs of other widths than the towers' own."""
    for key, found, factor, width in (
        ("sam_config.mlp_dim", sam.mlp_dim, constants.SAM_MLP_RATIO, sam.hidden_size),
        (
            "encoder_config.intermediate_size",
            clip.intermediate_size,
            constants.CLIP_MLP_RATIO,
            clip.hidden_size,
        ),
    ):
        if found != factor * width:
            allowed = f"{factor} × hidden_size = {factor * width}"
            raise InputError(path, f"vision_config.{key}", str(found), allowed)


def _at(content: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what stands under a key of nested mappings."""
    found: Any = content
    for name in key.split("."):
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


def _key(dimension: str) -> str:
    """Return where config.json states a dimension."""
    return ".".join(_KEYS.get(name, name) for name in dimension.split("."))
