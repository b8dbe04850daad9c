"""What formulas need to know of a model: the dimensions that its ``config.json`` states."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.inputs.checkpoint import public_name, revision
from mkdocs_dsocr.inputs.config_file import ConfigFile
from mkdocs_dsocr.inputs.errors import InputError, plain, repr_short
from mkdocs_dsocr.resources import Documented
from mkdocs_dsocr.text import printable

Size = Annotated[int, Field(ge=1, le=10**7)]
Few = Annotated[int, Field(ge=0, le=10**7)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class ConfigSection(Documented, BaseModel):
    """A section of config.json; keys that no formula needs are ignored."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class LanguageConfig(ConfigSection):
    """The decoder. Without experts the four numbers that describe them are 0."""

    hidden_size: Size
    intermediate_size: Size
    moe_intermediate_size: Few
    num_hidden_layers: Depth
    num_attention_heads: Size
    num_key_value_heads: Size
    n_routed_experts: Annotated[int, Field(ge=0, le=10_000)]
    n_shared_experts: Few
    num_experts_per_tok: Few
    first_k_dense_replace: Annotated[int, Field(ge=0, le=1000)]
    vocab_size: Size
    max_position_embeddings: Size
    sliding_window: Size | None = None
    """New tokens that a decode step attends to at most, besides the prompt; None: all of them."""

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def has_experts(self) -> bool:
        """Whether any layer has experts in place of a dense MLP."""
        return self.first_k_dense_replace < self.num_hidden_layers


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


class EncoderConfig(ConfigSection):
    """An encoder of a language model's layers behind SAM, with grouped queries."""

    width: Size
    mlp_width: Size
    layers: Depth
    heads: Size
    kv_heads: Size


Tower = TypeVar("Tower", ClipConfig, EncoderConfig)

EXPERTS: Final = (
    "moe_intermediate_size",
    "n_routed_experts",
    "n_shared_experts",
    "num_experts_per_tok",
)
"""Dimensions of a mixture of experts: all 0 in a decoder without one."""
HEADERS: Final = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
"""Dtypes of a checkpoint as a workload names them, and as safetensors does."""


class Storage(ConfigSection):
    """How a checkpoint stores its weights.

    Attributes
    ----------
    is_quantised
        Whether linears have another format than the rest.
    dtype
        Of all that is not quantised, and of activations and KV cache unless a workload says
        otherwise.
    weight_dtype
        Of the weights of linears, unless a workload says otherwise.
    kept
        Modules of the layer tree whose weights stay in `dtype`.
    notes
        What the checkpoint says about it, in sentences.
    warnings
        What is not modelled, in sentences. They hold for a workload without ``weight_dtype``.
    """

    is_quantised: bool = False
    dtype: str = "bf16"
    weight_dtype: str = "bf16"
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Dimensions(ConfigSection):
    """All of a model that formulas need.

    Attributes
    ----------
    language, sam
        Dimensions of the decoder and of the SAM tower.
    clip, encoder
        Dimensions of the tower behind SAM: at most one of both. Without one, the decoder reads
        SAM's features.
    trained_image_size
        Side of the view for which SAM's position table was trained, px.
    """

    language: LanguageConfig
    sam: SamConfig
    clip: ClipConfig | None = None
    encoder: EncoderConfig | None = None
    trained_image_size: Size

    def tower(self, kind: type[Tower]) -> Tower:
        """Return the tower behind SAM, which a model knows to be of a kind.

        Raises
        ------
        LookupError
            If it is of another one.
        """
        for found in (self.clip, self.encoder):
            if isinstance(found, kind):
                return found
        raise LookupError(f"no {kind.__name__} among the model's dimensions")

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
    storage
        How the checkpoint stores its weights.
    unused_keys
        Keys of config.json that no formula uses.
    notes
        What else there is to say about the file, in sentences.
    """

    architecture: str
    variant: str
    model_id: str
    path: Path
    revision: str | None = None
    storage: Storage = Storage()
    unused_keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def place(file: ConfigFile) -> dict[str, Any]:
        """Return what a config.json and its folder say about a model besides its dimensions."""
        path = file.path
        # A snapshot's files are links: the folder is that of the link, not of its target.
        folder = printable(Path(os.path.abspath(path)).parent.name)
        public = public_name(path)
        return {
            "variant": public.rpartition("/")[2] if public else folder,
            "model_id": plain(str(file.get("_name_or_path") or public or folder)),
            "path": path,
            "revision": revision(path, file.content),
        }

    @property
    def dimensions(self) -> Dimensions:
        fields = Dimensions.model_fields
        return Dimensions.model_construct(**{name: getattr(self, name) for name in fields})


def check_shapes(
    path: Path, config: Dimensions, key_of: Callable[[str], str] = "model.dimensions.{}".format
) -> None:
    """Refuse dimensions that do not fit each other.

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
    for key, fits, allowed in _checks(config):
        if not fits:
            value = attrgetter(key)(config)
            found = repr_short(list(value) if isinstance(value, tuple) else value)
            raise InputError(path, key_of(key), found, allowed)


def _checks(config: Dimensions) -> Iterator[tuple[str, bool, str]]:
    """Yield dimensions with whether each fits the others, and what is allowed."""
    language, sam = config.language, config.sam
    yield "encoder", config.clip is None or config.encoder is None, "one of clip and encoder"
    heads, experts = language.num_attention_heads, language.n_routed_experts
    fits = language.hidden_size % (2 * heads) == 0
    yield "language.hidden_size", fits, f"an even multiple of num_attention_heads = {heads}"
    fits = heads % language.num_key_value_heads == 0
    yield "language.num_key_value_heads", fits, f"a divisor of num_attention_heads = {heads}"
    for name in EXPERTS if language.has_experts else ():
        fits = getattr(language, name) > 0
        yield f"language.{name}", fits, "at least 1: layers have experts"
    fits = language.num_experts_per_tok <= experts
    yield "language.num_experts_per_tok", fits, f"at most n_routed_experts = {experts}"
    layers = language.num_hidden_layers
    fits = language.first_k_dense_replace <= layers
    yield "language.first_k_dense_replace", fits, f"at most num_hidden_layers = {layers}"
    indexes = sam.global_attn_indexes
    fits = sorted(set(indexes)) == list(indexes) and all(i < sam.layers for i in indexes)
    yield "sam.global_attn_indexes", fits, f"increasing indices below layers = {sam.layers}"
    yield "sam.width", sam.width % sam.heads == 0, f"a multiple of heads = {sam.heads}"
    fits = config.trained_image_size % constants.SAM_PATCH == 0
    yield "trained_image_size", fits, f"a multiple of the patch, {constants.SAM_PATCH}"
    yield from _tower_checks(config)


def _tower_checks(config: Dimensions) -> Iterator[tuple[str, bool, str]]:
    """Yield the checks of what reads SAM's features."""
    name, tower = ("encoder", config.encoder) if config.encoder else ("clip", config.clip)
    reader, width = (name, tower.width) if tower else ("language", config.language.hidden_size)
    fits = config.sam.downsample_channels[-1] == width
    allowed = f"the width of {reader}, {width}, at the end: SAM's output is its input"
    yield "sam.downsample_channels", fits, allowed
    if tower is None:
        return
    yield f"{name}.width", tower.width % tower.heads == 0, f"a multiple of heads = {tower.heads}"
    if isinstance(tower, ClipConfig):
        allowed = f"at least the patch, patch_size = {tower.patch_size}"
        yield "clip.image_size", tower.table_side > 0, allowed
    if isinstance(tower, EncoderConfig):
        fits = tower.width % (2 * tower.heads) == 0
        yield "encoder.width", fits, f"an even multiple of heads = {tower.heads}"
        fits = tower.heads % tower.kv_heads == 0
        yield "encoder.kv_heads", fits, f"a divisor of heads = {tower.heads}"
