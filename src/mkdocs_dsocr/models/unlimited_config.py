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
_FIXED: Final[dict[str, Any]] = {
    "text_config.attention_bias": False,
    "text_config.mlp_bias": False,
    "text_config.topk_method": "greedy",
    "text_config.tie_word_embeddings": False,
    "tie_word_embeddings": False,
    "vision_config.sam_config.patch_size": constants.SAM_PATCH,
    "vision_config.sam_config.window_size": constants.SAM_WINDOW,
    "vision_config.sam_config.output_channels": constants.SAM_NECK,
    "vision_config.sam_config.use_abs_pos": True,
    "vision_config.sam_config.use_rel_pos": True,
    "vision_config.sam_config.qkv_bias": True,
}
_KEYS: Final = {
    "language": "text_config",
    "sam": "vision_config.sam_config",
    "clip": "vision_config.encoder_config",
    "encoder": "vision_config.encoder_config",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "trained_image_size": "vision_config.sam_config.image_size",
    "first_k_dense_replace": "mlp_layer_types",
}


class SamSection(ConfigSection):
    """SAM's section of a vision_config."""

    hidden_size: Size = 768
    num_hidden_layers: Depth = 12
    num_attention_heads: Size = 12
    mlp_dim: Size | None = None
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


class TextSection(ConfigSection):
    """A text_config, as far as decoders share it."""

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


class _Text(TextSection):
    layer_types: tuple[str, ...] | None = None
    sliding_window: Size = 128


class _Vision(ConfigSection):
    sam_config: SamSection = SamSection()
    encoder_config: _Clip = _Clip()


class _File(ConfigSection):
    vision_config: _Vision = _Vision()
    text_config: _Text = _Text()


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    check_fixed(path, content, ARCHITECTURE, {"text_config.n_group": 1})
    file = validate(_File, dict(content), path)
    sam, clip = file.vision_config.sam_config, file.vision_config.encoder_config
    _check_mlp(path, clip)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=_language(path, file.text_config),
        sam=sam_tower(path, sam),
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
    check_shapes(path, config, key_of)
    return config


def _language(path: Path, text: _Text) -> LanguageConfig:
    layers = text.num_hidden_layers
    windows = text.layer_types or (REFERENCE_WINDOW,) * layers
    if windows != (REFERENCE_WINDOW,) * layers:
        allowed = f"{REFERENCE_WINDOW} for each of {layers} layers"
        raise InputError(path, "text_config.layer_types", repr_short(list(windows)), allowed)
    return decoder(path, text, ARCHITECTURE)


def decoder(path: Path, text: TextSection, architecture: str) -> LanguageConfig:
    """Return the decoder's dimensions.

    Raises
    ------
    InputError
        If it is none that the formulas speak of.
    """
    layers, heads = text.num_hidden_layers, text.num_attention_heads
    kinds = text.mlp_layer_types or ("dense", *("sparse",) * (layers - 1))
    dense = kinds.count("dense")
    checks: tuple[tuple[str, Any, bool, str], ...] = (
        (
            "mlp_layer_types",
            list(kinds),
            kinds == ("dense",) * dense + ("sparse",) * (layers - dense),
            f"dense layers, then sparse ones, {layers} in all",
        ),
        (
            "num_key_value_heads",
            text.num_key_value_heads,
            text.num_key_value_heads in (None, heads),
            f"num_attention_heads = {heads}, as {architecture} has it",
        ),
    )
    for key, value, right, allowed in checks:
        if not right:
            raise InputError(path, f"text_config.{key}", repr_short(value), allowed)
    fields = {k: v for k, v in dict(text).items() if k in LanguageConfig.model_fields}
    return LanguageConfig(
        **{**fields, "num_key_value_heads": heads, "first_k_dense_replace": dense}
    )


def sam_tower(path: Path, sam: SamSection) -> SamConfig:
    """Return the SAM tower's dimensions.

    Raises
    ------
    InputError
        If its MLP has another width than SAM's.
    """
    width = constants.SAM_MLP_RATIO * sam.hidden_size
    if sam.mlp_dim not in (None, width):
        key, allowed = "vision_config.sam_config.mlp_dim", f"× hidden_size = {width}"
        raise InputError(path, key, str(sam.mlp_dim), f"{constants.SAM_MLP_RATIO} {allowed}")
    return SamConfig(
        width=sam.hidden_size,
        layers=sam.num_hidden_layers,
        heads=sam.num_attention_heads,
        global_attn_indexes=sam.global_attn_indexes,
        downsample_channels=sam.downsample_channels,
    )


def check_fixed(
    path: Path, content: Mapping[str, Any], architecture: str, further: Mapping[str, Any]
) -> None:
    """Refuse what would make other formulas.

    Parameters
    ----------
    path, content
        Where a config.json was read, and what it says.
    architecture
        Whose formulas they are.
    further
        The value that a key must have, where the file has it, besides those of all such models.

    Raises
    ------
    InputError
        For the first key that has another value.
    """
    for key, allowed in {**_FIXED, **further}.items():
        found = _at(content, key, allowed)
        if found != allowed:
            raise InputError(path, key, repr_short(found), f"{allowed!r}, as {architecture} has it")


def _check_mlp(path: Path, clip: _Clip) -> None:
    """Refuse an MLP of another width than CLIP's."""
    width = constants.CLIP_MLP_RATIO * clip.hidden_size
    if clip.intermediate_size != width:
        allowed = f"{constants.CLIP_MLP_RATIO} × hidden_size = {width}"
        key = "vision_config.encoder_config.intermediate_size"
        raise InputError(path, key, str(clip.intermediate_size), allowed)


def _at(content: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what stands under a key of nested mappings."""
    found: Any = content
    for name in key.split("."):
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


def key_of(dimension: str) -> str:
    """Return where config.json states a dimension."""
    return ".".join(_KEYS.get(name, name) for name in dimension.split("."))
