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
    """

    category_id: str
    display_name: str
    description: str


_ALL: Final = (
    Category("conv2d", "Convolution", "2-D convolutions"),
    Category("linear", "Linear", "Matrix products with a weight, bias included"),
    Category("attention", "Attention", "Scaled dot products, their softmax, relative positions"),
    Category("norm", "Normalisation", "LayerNorm, LayerNorm2d, RMSNorm"),
    Category("activation", "Activation", "GELU, quick-GELU, SiLU and the gate's product"),
    Category("embedding", "Embedding", "Lookups of tokens and positions"),
    Category("rope", "Rotary embedding", "Angles and rotation"),
    Category("routing", "Expert routing", "Scores, selection, dispatch and combination of experts"),
    Category("residual", "Residual", "Additions of a residual stream"),
    Category("interpolation", "Interpolation", "Resized position tables"),
    Category("copy", "Copies and casts", "Data that moves without arithmetic"),
    Category("other", "Other", "Classes that have no analytic layer"),
)
OTHER: Final = "other"
AROUND: Final = ("residual", "interpolation", "copy")
"""Families of work that no class is made for."""

CATEGORIES: Final[dict[str, Category]] = {c.category_id: c for c in _ALL}
