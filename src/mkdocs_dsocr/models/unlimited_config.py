"""Unlimited-OCR's ``config.json``, in the two layouts that there are.

*Published*: the checkpoint's own, DeepSeek-OCR's with a sliding window. *Port*: as transformers
writes it (5.23.0, models/unlimited_ocr/configuration_unlimited_ocr.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.config_file import ConfigFile, Fixed
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.model_config import (
    ClipConfig,
    ConfigSection,
    Depth,
    LanguageConfig,
    SamConfig,
    Size,
    check_shapes,
)
from mkdocs_dsocr.models import deepseek_config
from mkdocs_dsocr.models.storage import read_storage

ARCHITECTURE: Final = "UnlimitedOcrForConditionalGeneration"
PUBLISHED: Final = "UnlimitedOCRForCausalLM"
"""The class of the checkpoint's own code."""
REFERENCE_WINDOW: Final = "reference_sliding_attention"
"""Attention to the prompt and a window of new tokens."""
COMPONENTS: Final = {
    "sam_encoder": "model.sam_model.blocks",
    "vision_encoder": "model.vision_model.transformer",
    "multi_modal_projector": "model.projector.layers",
    **{name: deepseek_config.COMPONENTS[name] for name in ("lm_head", "self_attn")},
    "shared_experts": deepseek_config.COMPONENTS["shared_experts"],
}
"""See :data:`mkdocs_dsocr.models.storage.Components`."""
PORTED: Final = COMPONENTS | {
    "sam_encoder": "model.vision_tower.sam_encoder.layers",
    "vision_encoder": "model.vision_tower.vision_encoder.layers",
    "multi_modal_projector": "model.multi_modal_projector",
}
"""The same with the paths of the port."""
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
TEXT_FIXED: Final[Fixed] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "n_group": (1, None),
    "topk_group": (1, None),
    "topk_method": ("greedy", None),
    "norm_topk_prob": (False, None),
    "routed_scaling_factor": (constants.ROUTED_SCALING_FACTOR, None),
    "hidden_act": ("silu", None),
    "rms_norm_eps": (constants.RMS_NORM_EPS, None),
    "rope_theta": (constants.ROPE_THETA, None),
    "rope_scaling": (None,),
    "rope_parameters": deepseek_config.FIXED["rope_parameters"],
    "partial_rotary_factor": (1, None),
    "pretraining_tp": (1, None),
    "use_mla": (False, None),
    "use_sliding_window": (True, None),
    "tie_word_embeddings": (False, None),
}
SAM_FIXED: Final[Fixed] = {
    "patch_size": (constants.SAM_PATCH, None),
    "window_size": (constants.SAM_WINDOW, None),
    "output_channels": (constants.SAM_NECK, None),
    "num_channels": (constants.IMAGE_CHANNELS, None),
    "use_abs_pos": (True, None),
    "use_rel_pos": (True, None),
    "qkv_bias": (True, None),
    "hidden_act": ("gelu", None),
    "layer_norm_eps": (constants.SAM_NORM_EPS, None),
}
_CLIP_FIXED: Final[Fixed] = {
    "num_channels": (constants.IMAGE_CHANNELS, None),
    "hidden_act": ("quick_gelu", None),
    "layer_norm_eps": (constants.CLIP_NORM_EPS, None),
}


class SamSection(ConfigSection):
    """SAM's section of a vision_config."""

    hidden_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    mlp_dim: Size
    image_size: Size
    global_attn_indexes: tuple[Annotated[int, Field(ge=0)], ...]
    downsample_channels: tuple[Size, Size]


class _Clip(ConfigSection):
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    image_size: Size
    patch_size: Size


class TextSection(ConfigSection):
    """A text_config, as far as decoders share it."""

    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    moe_intermediate_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    num_key_value_heads: Size | None
    n_routed_experts: Annotated[int, Field(ge=1, le=10_000)]
    n_shared_experts: Size
    num_experts_per_tok: Size
    max_position_embeddings: Size
    mlp_layer_types: tuple[str, ...]


class _Text(TextSection):
    layer_types: tuple[str, ...]
    sliding_window: Size


class _Vision(ConfigSection):
    sam_config: SamSection
    encoder_config: _Clip


class _File(ConfigSection):
    vision_config: _Vision
    text_config: _Text


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    file = ConfigFile(path, content)
    is_published = file.has(deepseek_config.LANGUAGE) or _names_published(content)
    if not is_published:
        return _ported(file)
    if file.has("text_config"):
        allowed = f"one layout: {deepseek_config.LANGUAGE} or text_config"
        raise InputError(path, "text_config", "a second decoder", allowed)
    return _published(file)


def _names_published(content: Mapping[str, Any]) -> bool:
    return PUBLISHED in (content.get("architectures") or ())


def _published(file: ConfigFile) -> ModelConfig:
    """Read the checkpoint's own layout."""
    decoder = file.merged(deepseek_config.LANGUAGE)
    windows = {key: decoder.get(key) for key in ("sliding_window", "sliding_window_size")}
    stated = {key: value for key, value in windows.items() if value is not None}
    for key in windows:
        file.get(key)
        file.get(f"{deepseek_config.LANGUAGE}.{key}")
    if not stated:
        raise InputError(file.path, "sliding_window", "nothing", "the tokens that a step sees")
    if len(set(map(repr, stated.values()))) > 1:
        found, allowed = repr_short(windows["sliding_window"]), "the same as sliding_window_size"
        raise InputError(
            file.path, "sliding_window", found, f"{allowed}, {decoder['sliding_window_size']}"
        )
    config = deepseek_config.published(
        file, ARCHITECTURE, {}, COMPONENTS, sliding_window=next(iter(stated.values()))
    )
    heads, kv_heads = config.language.num_attention_heads, config.language.num_key_value_heads
    if kv_heads != heads:
        allowed = f"num_attention_heads = {heads}, as {ARCHITECTURE} has it"
        raise file.refuse("num_key_value_heads", allowed)
    clip = config.tower(ClipConfig)
    unused = constants.IMAGE_CHANNELS * clip.patch_size**2 * clip.width
    note = (
        f"config.json is in the layout of the checkpoint's own code, whose model has {unused:,} "
        "parameters more than transformers' port that is analysed here: CLIP's patch convolution, "
        "which never runs."
    )
    return config.model_copy(update={"notes": (*config.notes, note)})


def _ported(file: ConfigFile) -> ModelConfig:
    """Read the layout of transformers."""
    sections = ("text_config", "vision_config.sam_config", "vision_config.encoder_config")
    for section, fixed in zip(sections, (TEXT_FIXED, SAM_FIXED, _CLIP_FIXED), strict=True):
        file.check(section, fixed, ARCHITECTURE)
    file.check("", {"tie_word_embeddings": (False, None)}, ARCHITECTURE)
    whole = file.validated(_File, file.content, ("",))
    sam, clip = whole.vision_config.sam_config, whole.vision_config.encoder_config
    _check_mlp(file.path, clip)
    language = _language(file.path, whole.text_config)
    file.check("text_config", {"head_dim": (language.head_dim, None)}, ARCHITECTURE)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=language,
        sam=sam_tower(file.path, sam),
        clip=ClipConfig(
            width=clip.hidden_size,
            layers=clip.num_hidden_layers,
            heads=clip.num_attention_heads,
            image_size=clip.image_size,
            patch_size=clip.patch_size,
        ),
        trained_image_size=sam.image_size,
        storage=read_storage(file, ("", "text_config"), PORTED),
        **ModelConfig.place(file),
    )
    check_shapes(file.path, config, key_of)
    return config.model_copy(update={"unused_keys": file.unused})


def _language(path: Path, text: _Text) -> LanguageConfig:
    layers, windows = text.num_hidden_layers, text.layer_types
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
    kinds = text.mlp_layer_types
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
    if sam.mlp_dim != width:
        allowed = f"{constants.SAM_MLP_RATIO} × hidden_size = {width}"
        raise InputError(path, "vision_config.sam_config.mlp_dim", str(sam.mlp_dim), allowed)
    return SamConfig(
        width=sam.hidden_size,
        layers=sam.num_hidden_layers,
        heads=sam.num_attention_heads,
        global_attn_indexes=sam.global_attn_indexes,
        downsample_channels=sam.downsample_channels,
    )


def _check_mlp(path: Path, clip: _Clip) -> None:
    """Refuse an MLP of another width than CLIP's."""
    width = constants.CLIP_MLP_RATIO * clip.hidden_size
    if clip.intermediate_size != width:
        allowed = f"{constants.CLIP_MLP_RATIO} × hidden_size = {width}"
        key = "vision_config.encoder_config.intermediate_size"
        raise InputError(path, key, str(clip.intermediate_size), allowed)


def key_of(dimension: str) -> str:
    """Return where config.json states a dimension."""
    return ".".join(_KEYS.get(name, name) for name in dimension.split("."))
