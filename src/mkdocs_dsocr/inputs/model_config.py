"""What formulas need to know of a model: the dimensions that its ``config.json`` states."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.inputs.checkpoint import public_name, revision
from mkdocs_dsocr.inputs.errors import InputError, repr_short

Size = Annotated[int, Field(ge=1, le=10**7)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class ConfigSection(BaseModel):
    """A section of config.json; keys that we do not need are the vendor's business."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class LanguageConfig(ConfigSection):
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
    sliding_window: Size | None = None
    """New tokens that a decode step sees at most, beside the prompt; all where it is None."""

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class SamConfig(ConfigSection):
    """The SAM tower."""

    width: Size
    layers: Depth
    heads: Size
    global_attn_indexes: tuple[Annotated[int, Field(ge=0)], ...]
    downsample_channels: tuple[Size, Size]


class ClipConfig(ConfigSection):
    """The CLIP tower."""

    width: Size
    layers: Depth
    heads: Size
    image_size: Size
    patch_size: Size

    @property
    def table_side(self) -> int:
        return self.image_size // self.patch_size


class Dimensions(ConfigSection):
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
    """The dimensions of a model, and where they come from.

    Attributes
    ----------
    architecture
        Its name under ``architectures``: which model reads the dimensions.
    variant
        Name of the folder that holds config.json.
    model_id
        The public name, where the file says it.
    path
        Where config.json was read.
    revision
        Commit of the checkpoint folder, where it can be known.
    """

    architecture: str
    variant: str
    model_id: str
    path: Path
    revision: str | None = None

    @staticmethod
    def place(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a config.json and its folder say of a model beside its dimensions."""
        # A snapshot's files are links: the folder is that of the path, not of what it leads to.
        folder, public = Path(os.path.abspath(path)).parent.name, public_name(path)
        return {
            "variant": public.rpartition("/")[2] if public else folder,
            "model_id": str(content.get("_name_or_path") or public or folder),
            "path": path,
            "revision": revision(path, content),
        }

    @property
    def dimensions(self) -> Dimensions:
        fields = Dimensions.model_fields
        return Dimensions.model_construct(**{name: getattr(self, name) for name in fields})


Check = tuple[str, Any, bool, str]


def check_shapes(
    path: Path, config: Dimensions, key_of: Callable[[str], str] = "model.dimensions.{}".format
) -> None:
    """Refuse dimensions that make no model.

    Parameters
    ----------
    path, config
        Where they were read, and what they are.
    key_of
        From a dimension, such as ``sam.width``, to its key in the file; a report's where not given.

    Raises
    ------
    InputError
        For the first that does not fit the others, by its key.
    """
    checks = (*_language_checks(config.language), *_vision_checks(config))
    for key, value, right, allowed in checks:
        if not right:
            raise InputError(path, key_of(key), repr_short(value), allowed)


def _language_checks(language: LanguageConfig) -> tuple[Check, ...]:
    """Return what the decoder's dimensions must be: key, value, whether it is, what is allowed."""
    return (
        (
            "language.hidden_size",
            language.hidden_size,
            language.hidden_size % (2 * language.num_attention_heads) == 0,
            f"an even multiple of num_attention_heads = {language.num_attention_heads}",
        ),
        (
            "language.num_key_value_heads",
            language.num_key_value_heads,
            language.num_attention_heads % language.num_key_value_heads == 0,
            f"a divisor of num_attention_heads = {language.num_attention_heads}",
        ),
        (
            "language.num_experts_per_tok",
            language.num_experts_per_tok,
            language.num_experts_per_tok <= language.n_routed_experts,
            f"at most n_routed_experts = {language.n_routed_experts}",
        ),
        (
            "language.first_k_dense_replace",
            language.first_k_dense_replace,
            language.first_k_dense_replace <= language.num_hidden_layers,
            f"at most num_hidden_layers = {language.num_hidden_layers}",
        ),
    )


def _vision_checks(config: Dimensions) -> tuple[Check, ...]:
    """Return the same of the towers."""
    sam, clip = config.sam, config.clip
    return (
        (
            "sam.downsample_channels",
            list(sam.downsample_channels),
            sam.downsample_channels[-1] == clip.width,
            f"CLIP's width {clip.width} at the end: SAM's output is CLIP's input",
        ),
        (
            "sam.global_attn_indexes",
            list(sam.global_attn_indexes),
            sorted(set(sam.global_attn_indexes)) == list(sam.global_attn_indexes)
            and all(i < sam.layers for i in sam.global_attn_indexes),
            f"increasing indices below layers = {sam.layers}",
        ),
        (
            "sam.width",
            sam.width,
            sam.width % sam.heads == 0,
            f"a multiple of heads = {sam.heads}",
        ),
        (
            "clip.width",
            clip.width,
            clip.width % clip.heads == 0,
            f"a multiple of heads = {clip.heads}",
        ),
        (
            "trained_image_size",
            config.trained_image_size,
            config.trained_image_size % constants.SAM_PATCH == 0,
            f"a multiple of the patch, {constants.SAM_PATCH}",
        ),
    )
