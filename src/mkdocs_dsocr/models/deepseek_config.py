"""DeepSeek-OCR's ``config.json``: what it has to say, and what it must not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.inputs.model_config import (
    ClipConfig,
    ConfigSection,
    LanguageConfig,
    SamConfig,
    Size,
    check_shapes,
)

ARCHITECTURE: Final = "DeepseekOCRForCausalLM"
_PLACES: Final = {
    "sam": "vision_config.width.sam_vit_b",
    "clip": "vision_config.width.clip-l-14-224",
    "trained_image_size": "vision_config.image_size",
}


class _Towers(ConfigSection):
    sam_vit_b: SamConfig
    clip: ClipConfig = Field(alias="clip-l-14-224")


class _Vision(ConfigSection):
    image_size: Size
    width: _Towers


class _Projector(ConfigSection):
    input_dim: Size
    n_embed: Size
    projector_type: str


class _File(ConfigSection):
    architectures: tuple[str, ...]
    vision_config: _Vision
    projector_config: _Projector


def parse(path: Path, content: Mapping[str, Any]) -> ModelConfig:
    """Return the dimensions; see :meth:`mkdocs_dsocr.models.Model.parse`."""
    _check_architecture(path, content)
    file = validate(_File, dict(content), path)
    config = ModelConfig(
        architecture=ARCHITECTURE,
        language=_language(path, content),
        sam=file.vision_config.width.sam_vit_b,
        clip=file.vision_config.width.clip,
        trained_image_size=file.vision_config.image_size,
        **ModelConfig.place(path, content),
    )
    _check_projector(path, config, file.projector_config)
    check_shapes(path, config, _key)
    return config


def _key(dimension: str) -> str:
    """Return where config.json states a dimension."""
    part, _, name = dimension.partition(".")
    return ".".join(k for k in (_PLACES.get(part, ""), name) if k)


def _language(path: Path, content: Mapping[str, Any]) -> LanguageConfig:
    nested = content.get("language_config", {})
    if not isinstance(nested, dict):
        raise InputError(path, "language_config", repr_short(nested), "a mapping")
    copies = {k: v for k, v in content.items() if k in LanguageConfig.model_fields}
    # Its attention has no window, whatever a file copied from another model says.
    return validate(LanguageConfig, {**copies, **nested, "sliding_window": None}, path)


def _check_architecture(path: Path, content: Mapping[str, Any]) -> None:
    nested = content.get("language_config")
    language = {**content, **(nested if isinstance(nested, dict) else {})}
    projector = content.get("projector_config")
    fixed: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("use_mla", language.get("use_mla"), (False,)),
        ("topk_method", language.get("topk_method"), (None, "greedy")),
        ("norm_topk_prob", language.get("norm_topk_prob"), (None, False)),
        ("scoring_func", language.get("scoring_func"), (None, "softmax")),
        ("moe_layer_freq", language.get("moe_layer_freq"), (None, 1)),
        ("attention_bias", language.get("attention_bias"), (None, False)),
        ("tie_word_embeddings", language.get("tie_word_embeddings"), (None, False)),
        (
            "projector_config.projector_type",
            projector.get("projector_type", "linear") if isinstance(projector, dict) else "linear",
            ("linear",),
        ),
    )
    for key, value, allowed in fixed:
        if value not in allowed:
            raise InputError(
                path, key, repr_short(value), f"{allowed[-1]!r}, as {ARCHITECTURE} has it"
            )


def _check_projector(path: Path, config: ModelConfig, projector: _Projector) -> None:
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
            raise InputError(path, f"projector_config.{key}", repr_short(found), allowed)
