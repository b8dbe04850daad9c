"""Unlimited-OCR's SAM tower."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import GELU, LayerNorm
from mkdocs_dsocr.layers.layer import Rationale, Step, layer
from mkdocs_dsocr.layers.operations import Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.vision.attention import Attention
from mkdocs_dsocr.layers.vision.block import GlobalBlock, WindowBlock
from mkdocs_dsocr.layers.vision.mlp import MLPBlock
from mkdocs_dsocr.layers.vision.patch_embed import PatchEmbed
from mkdocs_dsocr.quantities import Quantity


@layer
class GELUActivation(GELU):
    """Gaussian error linear unit, exact: 0.5 x (1 + erf(x / √2))."""

    source = "transformers 5.23.0, activations.py"


@layer
class UnlimitedOcrSamMLPBlock(MLPBlock):
    """SAM's feed-forward block: widen, GELU, narrow."""

    source = SOURCE
    activation: ClassVar[type[GELU]] = GELUActivation


@layer
class UnlimitedOcrSamLayerNorm(LayerNorm):
    """Normalise the channels of every pixel; the permutations around it are views."""

    source = SOURCE


@layer
class UnlimitedOcrSamVisionSdpaAttention(Attention):
    """SAM's multi-head attention over a square of tokens, with relative positions.

    The tables of relative positions are resized at every call, also to the size that they have,
    and distances are computed in float32.
    """

    source = SOURCE
    rationale = Rationale(
        counted="All pairs of the n² tokens, padding tokens of a window included; the bias is "
        "materialised twice: added, then copied into the order of the queries.",
        not_counted="Copies after SDPA: its kernel writes [B, n², H, d], so merging the heads "
        "is a view.",
        assumed="SDPA is one kernel that keeps scores on chip and reads the bias from DRAM.",
        would_change="Computing the bias inside the attention kernel would save n⁴ elements of "
        "traffic per head, twice.",
    )

    transposes = False

    def _bias(self, q: Tensor, rows: Quantity) -> Iterator[Step]:
        for axis in ("h", "w"):
            yield from self._table(axis)
        for axis in ("h", "w"):
            yield from self._relative_scores(axis, q, rows)
        pairs = rows * self.side**2
        products = [Tensor(f"rel_{axis}", rows * self.side) for axis in ("h", "w")]
        summed, bias = Tensor("rel_h + rel_w", pairs), Tensor("bias", pairs)
        yield elementwise(
            "rel_h + rel_w",
            pairs,
            tuple(products),
            summed,
            category="attention",
            kernel="bias",
            pattern="per element",
            why="Broadcast to every pair of tokens: the largest tensor of the layer.",
        )
        yield keep(*products)
        why = "The sum lies as the products do: row by row."
        yield copy("bias in the order of the queries", summed, bias, why, kernel="bias")

    def _held(self, rows: Quantity) -> tuple[Tensor, ...]:
        return ()

    def _table(self, axis: str) -> Iterator[Step]:
        """Yield the resize and the gather of one axis's relative positions."""
        entries = (2 * self.side - 1) * self.head_dim
        table = Tensor(f"rel_pos_{axis}", (2 * self.table_side - 1) * self.head_dim, role="weight")
        resized = Tensor(f"resized_{axis}", entries)
        yield self._interpolated(f"resize on axis {axis}", axis, table, resized)
        picked = Tensor(f"picked_{axis}", self.side**2 * self.head_dim, view_of=resized.name)
        yield from self._gathered(axis, picked)
        yield keep(resized)


class _SamLayer:
    """What is Unlimited-OCR's own in both kinds of SAM's layers."""

    module_class: ClassVar[str] = "UnlimitedOcrSamVisionLayer"
    source: ClassVar[str] = SOURCE
    attention: ClassVar[type[Attention]] = UnlimitedOcrSamVisionSdpaAttention
    mlp: ClassVar[type[MLPBlock]] = UnlimitedOcrSamMLPBlock
    norms: ClassVar[tuple[str, str]] = ("layer_norm1", "layer_norm2")
    holds_norm: ClassVar[bool] = True


@layer
class GlobalSamLayer(_SamLayer, GlobalBlock):
    """SAM's pre-norm layer that attends over all g² tokens of a view."""


@layer
class WindowSamLayer(_SamLayer, WindowBlock):
    """SAM's pre-norm layer that attends within windows of w×w tokens.

    The grid is padded with zeros to whole windows, by a copy also where there is nothing to
    add; the padding is cut off after the attention.
    """

    rationale = WindowBlock.rationale._replace(
        would_change="A grid that is a multiple of the window is copied all the same; nothing is "
        "cut off after it."
    )
    always_pads = True
    holds_windows = True


@layer
class UnlimitedOcrSamPatchEmbeddings(PatchEmbed):
    """Cut each view into square patches and map every patch to a vector."""

    source = SOURCE
    convolution = "projection"
