"""The model's ``config.json`` as the dimensions that layers and modules need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.inputs.checkpoint import public_name, revision
from mkdocs_dsocr.inputs.errors import InputError, shown
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.references import resolve

ARCHITECTURE: Final = "DeepseekOCRForCausalLM"

Size = Annotated[int, Field(ge=1, le=10**7)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class _Part(BaseModel):
    """A section of config.json; keys that we do not need are the vendor's business."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class LanguageConfig(_Part):
    """The decoder."""

    hidden_size: Size
    intermediate_size: Size
    moe_intermediate_size: Size
    num_hidden_layers: Depth
    num_attention_heads: Size
    num_key_value_heads: Size
    n_routed_experts: Annotated[int, Field(ge=1, le=10_000)]
    n_shared_experts: Size
    num_experts_per_tok: Size
    first_k_dense_replace: Annotated[int, Field(ge=0, le=1000)]
    vocab_size: Size
    max_position_embeddings: Size

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class SamConfig(_Part):
    """The SAM tower."""

    width: Size
    layers: Depth
    heads: Size
    global_attn_indexes: tuple[Annotated[int, Field(ge=0)], ...]
    downsample_channels: tuple[Size, Size]


class ClipConfig(_Part):
    """The CLIP tower."""

    width: Size
    layers: Depth
    heads: Size
    image_size: Size
    patch_size: Size

    @property
    def table_side(self) -> int:
        return self.image_size // self.patch_size


class _Towers(_Part):
    sam_vit_b: SamConfig
    clip: ClipConfig = Field(alias="clip-l-14-224")


class _Vision(_Part):
    image_size: Size
    width: _Towers


class _Projector(_Part):
    input_dim: Size
    n_embed: Size
    projector_type: str


class _File(_Part):
    architectures: tuple[str, ...]
    vision_config: _Vision
    projector_config: _Projector


class Dimensions(_Part):
    """All of a model that formulas need.

    Attributes
    ----------
    language, sam, clip
        Dimensions of the decoder and the two towers.
    trained_image_size
        Side of the view for which SAM's position table was trained, px.
    """

    language: LanguageConfig
    sam: SamConfig
    clip: ClipConfig
    trained_image_size: Size

    @property
    def sam_table_side(self) -> int:
        return self.trained_image_size // constants.SAM_PATCH


class ModelConfig(Dimensions):
    """The dimensions of a DeepSeek-OCR model, and where they come from.

    Attributes
    ----------
    variant
        Name of the folder that holds config.json.
    model_id
        The public name, where the file says it.
    path
        Where config.json was read.
    revision
        Commit of the checkpoint folder, where it can be known.
    """

    variant: str
    model_id: str
    path: Path
    revision: str | None = None

    @property
    def dimensions(self) -> Dimensions:
        fields = Dimensions.model_fields
        return Dimensions.model_construct(**{name: getattr(self, name) for name in fields})


def load_model_config(value: str, base: Path | None = None, source: str = "option") -> ModelConfig:
    """Load the dimensions of a model by id or from a folder with ``config.json``.

    Raises
    ------
    InputError
        If there is no such model, the file is not valid, or it describes
        another architecture.
    """
    path = resolve("models", value, base, source)
    path = path if path.suffix == ".json" else path / "config.json"
    content = read_mapping(path)
    _check_architecture(path, content)
    file = validate(_File, content, path)
    # A snapshot's files are links: the folder's name is that of the path, not of what it leads to.
    folder = Path(os.path.abspath(path)).parent.name
    public = public_name(path)
    config = ModelConfig(
        variant=public.rpartition("/")[2] if public else folder,
        model_id=str(content.get("_name_or_path") or public or folder),
        path=path,
        language=_language(path, content),
        sam=file.vision_config.width.sam_vit_b,
        clip=file.vision_config.width.clip,
        trained_image_size=file.vision_config.image_size,
        revision=revision(path, content),
    )
    _check_projector(path, config, file.projector_config)
    check_shapes(path, config)
    return config


def _language(path: Path, content: dict[str, Any]) -> LanguageConfig:
    nested = content.get("language_config", {})
    if not isinstance(nested, dict):
        raise InputError(path, "language_config", shown(nested), "a mapping")
    copies = {k: v for k, v in content.items() if k in LanguageConfig.model_fields}
    return validate(LanguageConfig, {**copies, **nested}, path)


def _check_architecture(path: Path, content: dict[str, Any]) -> None:
    found = content.get("architectures")
    if not isinstance(found, list) or ARCHITECTURE not in found:
        raise InputError(path, "architectures", shown(found), f"[{ARCHITECTURE!r}]")
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
            raise InputError(path, key, shown(value), f"{allowed[-1]!r}, as {ARCHITECTURE} has it")


def _check_projector(path: Path, config: ModelConfig, projector: _Projector) -> None:
    hidden, joined = config.language.hidden_size, config.clip.width
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
            raise InputError(path, f"projector_config.{key}", shown(found), allowed)


def check_shapes(path: Path, config: Dimensions) -> None:
    """Refuse dimensions that make no model.

    Raises
    ------
    InputError
        For the first that does not fit the others, by its key in config.json.
    """
    language, sam, clip = config.language, config.sam, config.clip
    checks: tuple[tuple[str, Any, bool, str], ...] = (
        (
            "hidden_size",
            language.hidden_size,
            language.hidden_size % (2 * language.num_attention_heads) == 0,
            f"an even multiple of num_attention_heads = {language.num_attention_heads}",
        ),
        (
            "num_key_value_heads",
            language.num_key_value_heads,
            language.num_attention_heads % language.num_key_value_heads == 0,
            f"a divisor of num_attention_heads = {language.num_attention_heads}",
        ),
        (
            "num_experts_per_tok",
            language.num_experts_per_tok,
            language.num_experts_per_tok <= language.n_routed_experts,
            f"at most n_routed_experts = {language.n_routed_experts}",
        ),
        (
            "first_k_dense_replace",
            language.first_k_dense_replace,
            language.first_k_dense_replace <= language.num_hidden_layers,
            f"at most num_hidden_layers = {language.num_hidden_layers}",
        ),
        (
            "vision_config.width.sam_vit_b.downsample_channels",
            list(sam.downsample_channels),
            sam.downsample_channels[-1] == clip.width,
            f"CLIP's width {clip.width} at the end: SAM's output is CLIP's input",
        ),
        (
            "vision_config.width.sam_vit_b.global_attn_indexes",
            list(sam.global_attn_indexes),
            sorted(set(sam.global_attn_indexes)) == list(sam.global_attn_indexes)
            and all(i < sam.layers for i in sam.global_attn_indexes),
            f"increasing indices below layers = {sam.layers}",
        ),
        (
            "vision_config.width.sam_vit_b.width",
            sam.width,
            sam.width % sam.heads == 0,
            f"a multiple of heads = {sam.heads}",
        ),
        (
            "vision_config.width.clip-l-14-224.width",
            clip.width,
            clip.width % clip.heads == 0,
            f"a multiple of heads = {clip.heads}",
        ),
        (
            "vision_config.image_size",
            config.trained_image_size,
            config.trained_image_size % constants.SAM_PATCH == 0,
            f"a multiple of the patch, {constants.SAM_PATCH}",
        ),
    )
    for key, value, right, allowed in checks:
        if not right:
            raise InputError(path, key, shown(value), allowed)
