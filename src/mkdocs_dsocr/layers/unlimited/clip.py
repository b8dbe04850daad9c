"""Unlimited-OCR's CLIP tower, and both towers together."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.sam_encoder import UnlimitedOcrSamVisionEncoder
from mkdocs_dsocr.layers.vision.clip import (
    NoTPAttention,
    NoTPTransformer,
    NoTPTransformerBlock,
    VisionEmbeddings,
    VisionTransformer,
)
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.layers.vision.mlp import NoTPFeedForward, quick_gelu
from mkdocs_dsocr.quantities import Quantity


@layer
class QuickGELUActivation(BaseLayer):
    """Quick-GELU: x·σ(1.702 x)."""

    source = "transformers 5.23.0, activations.py"
    rationale = Rationale(
        counted="Multiply, sigmoid, multiply.",
        not_counted="Nothing.",
        assumed="Fused, one kernel.",
        would_change="Run eagerly it is three kernels with two intermediate tensors.",
    )

    rows: Quantity = dim("N", "rows")
    width: Quantity = dim("m", "width of a row", "elements")

    def forward(self) -> Iterator[Step]:
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        yield from quick_gelu(x, y)


@layer
class UnlimitedOcrMLP(NoTPFeedForward):
    """CLIP's feed-forward block: widen, quick-GELU, narrow."""

    source = SOURCE
    rationale = Rationale(
        counted="Two linears with bias and the activation.",
        not_counted="Nothing.",
        assumed="The widened activations are written and read again around the activation.",
        would_change="A fused epilogue would save passes over N·m elements.",
    )

    activated = "activated"

    def _activate(self, wide: Tensor, activated: Tensor) -> Iterator[Step]:
        activation = QuickGELUActivation(rows=self.rows, width=self.hidden)
        yield Child("activation_fn", activation, reads=(wide,), writes=(activated,))


@layer
class UnlimitedOcrAttention(NoTPAttention):
    """CLIP's multi-head attention over all tokens of a view, without a mask."""

    source = SOURCE
    rationale = Rationale(
        counted="Three projections, the attention over all pairs, the output projection.",
        not_counted="Copies: the attention kernel writes tokens first.",
        assumed="SDPA is one kernel that keeps the scores on chip.",
        would_change="One projection to q, k and v, as DeepSeek-OCR's code has it, reads the "
        "input once.",
    )

    def _project(self, x: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        width = self.heads * self.head_dim
        linear = Linear(rows=self.views * self.seq_len, d_in=width, d_out=width, bias=True)
        projected = tuple(Tensor(n, x.elements) for n in ("q", "k", "v"))
        for tensor in projected:
            yield Child(f"{tensor.name}_proj", linear, reads=(x,), writes=(tensor,))
        return projected


@layer
class UnlimitedOcrEncoderLayer(NoTPTransformerBlock):
    """CLIP's pre-norm layer: attention and MLP, each with a residual."""

    source = SOURCE
    rationale = NoTPTransformerBlock.rationale._replace(
        would_change="The number of tokens per view."
    )
    attention = UnlimitedOcrAttention
    mlp = UnlimitedOcrMLP


@layer
class UnlimitedOcrVisionEmbeddings(VisionEmbeddings):
    """A class token before SAM's features, and a position for each."""

    source = SOURCE
    rationale = Rationale(
        counted="The join with the class token, the positions, their addition.",
        not_counted="Nothing.",
        assumed="Positions are made once for all views of the batch.",
        would_change="Another number of features than trained resizes the table.",
    )

    def _positions(self) -> Generator[Step, None, Tensor]:
        positions = Tensor("positions", (self.side**2 + 1) * self.width)
        if not self.resize:
            yield Child("position_embedding", self._table(), writes=(positions,))
            return positions
        # Its rows are read as they lie: the embedding is held, and not called.
        yield Child("position_embedding", self._table(), calls=0)
        square = Tensor("table", self.table_side**2 * self.width, role="weight")
        yield from resize_table(self.table_side, self.side, self.width, square, "resized")
        resized = Tensor("resized", self.side**2 * self.width)
        reads = (Tensor("class position", self.width, role="weight"), resized)
        name = "class position, then resized ones"
        yield elementwise(name, 0, reads, positions, category="copy", pattern="per element")
        return positions


@layer
class UnlimitedOcrEncoder(NoTPTransformer):
    """CLIP's stack of equal layers."""

    source = SOURCE
    block = UnlimitedOcrEncoderLayer


@layer
class UnlimitedOcrVisionEncoder(VisionTransformer):
    """The body of CLIP ViT-L/14, fed with SAM's features."""

    source = SOURCE
    rationale = Rationale(
        counted="Embeddings, the first norm, every layer.",
        not_counted="A norm at the end: the model has none.",
        assumed="All views of one call run as one batch.",
        would_change="The view's side: tokens grow with its square.",
    )

    embeddings = UnlimitedOcrVisionEmbeddings
    stack = UnlimitedOcrEncoder
    stack_name = "encoder"


@layer
class VisionTower(BaseLayer):
    """SAM, and what runs on its map."""

    sam: UnlimitedOcrSamVisionEncoder

    @property
    def pixels(self) -> Tensor:
        """What it is given."""
        sam = self.sam
        return Tensor("pixels", sam.views * sam.in_channels * (sam.patch * sam.grid) ** 2)

    @property
    def features(self) -> Tensor:
        """What it returns."""
        raise NotImplementedError


@layer
class UnlimitedOcrVisionModel(VisionTower):
    """Both towers, one after the other, and their features joined."""

    source = SOURCE
    rationale = Rationale(
        counted="SAM, CLIP on its output, and the join of both.",
        not_counted="The drop of CLIP's class token: a view.",
        assumed="All views of one call run as one batch.",
        would_change="The view's side: SAM's global attention grows with its fourth power.",
    )

    clip: UnlimitedOcrVisionEncoder

    @property
    def features(self) -> Tensor:
        width = self.clip.heads * self.clip.head_dim + self.sam.out_channels
        return Tensor("features", self.clip.views * self.clip.side**2 * width)

    def forward(self) -> Iterator[Step]:
        sam, clip = self.sam, self.clip
        width, rows = clip.heads * clip.head_dim, clip.views * clip.side**2
        features = Tensor("SAM's map", rows * sam.out_channels)
        tokens = Tensor("CLIP's tokens", (rows + clip.views) * width)
        yield Child("sam_encoder", sam, reads=(self.pixels,), writes=(features,))
        yield Child("vision_encoder", clip, reads=(features,), writes=(tokens,))
        yield elementwise(
            "join CLIP's and SAM's features",
            0,
            (Tensor("CLIP's features", rows * width, view_of=tokens.name), features),
            Tensor("joined", rows * (width + sam.out_channels)),
            category="copy",
            pattern="per element",
        )
        yield keep(tokens)
