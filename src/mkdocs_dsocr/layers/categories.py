"""Operator families: what a breakdown groups operations by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Category:
    """A family of operations.

    Attributes
    ----------
    category_id, display_name, description
        Identity, and two texts for readers.
    match_classes
        Module classes whose work is mainly of this family.
    """

    category_id: str
    display_name: str
    description: str
    match_classes: tuple[str, ...] = ()


_ALL: Final = (
    Category("conv2d", "Convolution", "2-D convolutions", ("Conv2d", "PatchEmbed")),
    Category(
        "linear",
        "Linear",
        "Matrix products with a weight, bias included",
        (
            "Linear",
            "LMHead",
            "MlpProjector",
            "MLPBlock",
            "NoTPFeedForward",
            "DeepseekV2MLP",
            "DeepseekV2MoE",
            "Block",
            "NoTPTransformerBlock",
            "NoTPTransformer",
            "DeepseekV2DecoderLayer",
            "ImageEncoderViT",
            "VitModel",
            "DeepseekOCRModel",
            "ModuleList",
        ),
    ),
    Category(
        "attention",
        "Attention",
        "Scaled dot products, their softmax, relative positions",
        ("Attention", "NoTPAttention", "LlamaFlashAttention2"),
    ),
    Category(
        "norm",
        "Normalisation",
        "LayerNorm, LayerNorm2d, RMSNorm",
        ("LayerNorm", "LayerNorm2d", "DeepseekV2RMSNorm"),
    ),
    Category(
        "activation",
        "Activation",
        "GELU, quick-GELU, SiLU and the gate's product",
        ("GELU", "SiLU"),
    ),
    Category(
        "embedding",
        "Embedding",
        "Lookups of tokens and positions",
        ("Embedding", "CLIPVisionEmbeddings"),
    ),
    Category("rope", "Rotary embedding", "Angles and rotation", ("LlamaRotaryEmbedding",)),
    Category(
        "routing",
        "Expert routing",
        "Scores, selection, dispatch and combination of experts",
        ("MoEGate",),
    ),
    Category("residual", "Residual", "Additions of a residual stream"),
    Category("interpolation", "Interpolation", "Resized position tables"),
    Category("copy", "Copies and casts", "Data that moves without arithmetic"),
    Category("other", "Other", "Classes that have no analytic layer"),
)

CATEGORIES: Final[dict[str, Category]] = {c.category_id: c for c in _ALL}


def default_category(class_name: str) -> str:
    """Return the family that a module class mainly belongs to (``other`` if none)."""
    return next((c.category_id for c in _ALL if class_name in c.match_classes), "other")
