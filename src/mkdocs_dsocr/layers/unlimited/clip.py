"""Unlimited-OCR's CLIP tower, and both towers together."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Embedding, LayerNorm, Linear
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Product, Tensor, keep
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.sam_encoder import UnlimitedOcrSamVisionEncoder
from mkdocs_dsocr.layers.vision.clip import (
    NoTPAttention,
    NoTPTransformer,
    NoTPTransformerBlock,
)
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.layers.vision.mlp import NoTPFeedForward
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
        elements = self.rows * self.width
        x, scaled, gate, y = (Tensor(n, elements) for n in ("x", "1.702 x", "σ", "y"))
        steps: tuple[tuple[str, int, tuple[Tensor, ...], Tensor, tuple[Tensor, ...]], ...] = (
            ("1.702 x", 1, (x,), scaled, ()),
            ("sigmoid", costs.SIGMOID, (scaled,), gate, (gate,)),
            ("x · sigmoid", 1, (x, gate), y, (x, gate)),
        )
        for name, cost, reads, write, saved in steps:
            yield Operation(
                name,
                "activation",
                elementwise_flops=cost * elements,
                reads=reads,
                writes=(write,),
                saved_for_backward=saved,
                kernel="quick-GELU",
            )


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

    def forward(self) -> Iterator[Step]:
        x, y = (Tensor(n, self.rows * self.width) for n in ("x", "y"))
        wide, activated = (Tensor(n, self.rows * self.hidden) for n in ("wide", "activated"))
        fc1 = Linear(rows=self.rows, d_in=self.width, d_out=self.hidden, bias=True)
        fc2 = Linear(rows=self.rows, d_in=self.hidden, d_out=self.width, bias=True)
        activation = QuickGELUActivation(rows=self.rows, width=self.hidden)
        yield Child("fc1", fc1, reads=(x,), writes=(wide,))
        yield Child("activation_fn", activation, reads=(wide,), writes=(activated,))
        yield Child("fc2", fc2, reads=(activated,), writes=(y,))


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

    def forward(self) -> Iterator[Step]:
        width, rows = self.heads * self.head_dim, self.views * self.seq_len
        queries = self.views * self.heads * self.seq_len
        x, q, k, v, o, y = (Tensor(n, rows * width) for n in ("x", "q", "k", "v", "o", "y"))
        linear = Linear(rows=rows, d_in=width, d_out=width, bias=True)
        for tensor in (q, k, v):
            yield Child(f"{tensor.name}_proj", linear, reads=(x,), writes=(tensor,))
        yield Operation(
            "scaled dot-product attention",
            "attention",
            products=(
                Product(queries, self.head_dim, self.seq_len, self.views * self.heads),
                Product(queries, self.seq_len, self.head_dim, self.views * self.heads),
            ),
            elementwise_flops=costs.SOFTMAX * queries * self.seq_len,
            unit="tensor",
            reads=(q, k, v),
            writes=(o,),
            saved_for_backward=(q, k, v, o, Tensor("log-sum-exp", queries, "float32")),
            recomputes=True,
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax over each row of pairs.",
        )
        yield Child("out_proj", linear, reads=(o,), writes=(y,))
        yield keep(q, k, v)


@layer
class UnlimitedOcrEncoderLayer(NoTPTransformerBlock):
    """CLIP's pre-norm layer: attention and MLP, each with a residual."""

    source = SOURCE
    rationale = NoTPTransformerBlock.rationale._replace(would_change="The number of tokens a view.")
    attention = UnlimitedOcrAttention
    mlp = UnlimitedOcrMLP


@layer
class UnlimitedOcrVisionEmbeddings(BaseLayer):
    """A class token before SAM's features, and a position for each."""

    source = SOURCE
    rationale = Rationale(
        counted="The join with the class token, the positions, their addition.",
        not_counted="Nothing.",
        assumed="Positions are made once for all views of the batch.",
        would_change="Another number of features than trained resizes the table.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features a side, as SAM leaves them", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    table_side: Quantity = dim("t", "side of the trained position table", "tokens")
    resize: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("class_embedding", (self.width,))

    def forward(self) -> Iterator[Step]:
        elements = self.views * (self.side**2 + 1) * self.width
        tokens = Tensor("tokens", elements)
        positions = Tensor("positions", (self.side**2 + 1) * self.width)
        yield Operation(
            "class token, then features",
            "copy",
            reads=(
                Tensor("features", self.views * self.side**2 * self.width),
                Tensor("class_embedding", self.width, role="weight"),
            ),
            writes=(tokens,),
            why="The class token is expanded over the views: its storage is read once.",
        )
        entries = self.table_side**2 + 1
        table = Embedding(rows=entries, entries=entries, width=self.width, constant=True)
        if self.resize:
            # Its rows are read as they lie: the embedding is held, and not called.
            yield Child("position_embedding", table, calls=0)
            square = Tensor("table", self.table_side**2 * self.width, role="weight")
            yield from resize_table(self.table_side, self.side, self.width, square, "resized")
            yield Operation(
                "class position, then resized ones",
                "copy",
                reads=(
                    Tensor("class position", self.width, role="weight"),
                    Tensor("resized", self.side**2 * self.width),
                ),
                writes=(positions,),
            )
        else:
            yield Child("position_embedding", table, writes=(positions,))
        yield Operation(
            "tokens + positions",
            "embedding",
            elementwise_flops=elements,
            reads=(tokens, positions),
            writes=(Tensor("y", elements),),
        )


@layer
class UnlimitedOcrEncoder(NoTPTransformer):
    """CLIP's stack of equal layers."""

    source = SOURCE
    block = UnlimitedOcrEncoderLayer


@layer
class UnlimitedOcrVisionEncoder(BaseLayer):
    """The body of CLIP ViT-L/14, fed with SAM's features."""

    source = SOURCE
    rationale = Rationale(
        counted="Embeddings, the first norm, every layer.",
        not_counted="A norm at the end: the model has none.",
        assumed="All views of one call run as one batch.",
        would_change="The view's side: tokens grow with its square.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features a side, as SAM leaves them", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    table_side: Quantity = dim("t", "side of the trained position table", "tokens")
    depth: int
    resize: bool

    def forward(self) -> Iterator[Step]:
        width, seq_len = self.heads * self.head_dim, self.side**2 + 1
        features = Tensor("features", self.views * self.side**2 * width)
        embedded, normed, y = (
            Tensor(n, self.views * seq_len * width) for n in ("embeddings", "norm(x)", "y")
        )
        embeddings = UnlimitedOcrVisionEmbeddings(
            views=self.views,
            side=self.side,
            width=width,
            table_side=self.table_side,
            resize=self.resize,
        )
        encoder = UnlimitedOcrEncoder(
            views=self.views,
            seq_len=seq_len,
            heads=self.heads,
            head_dim=self.head_dim,
            mlp_hidden=self.mlp_hidden,
            depth=self.depth,
        )
        norm = LayerNorm(rows=self.views * seq_len, width=width)
        yield Child("embeddings", embeddings, reads=(features,), writes=(embedded,))
        yield Child("pre_layrnorm", norm, reads=(embedded,), writes=(normed,))
        yield Child("encoder", encoder, reads=(normed,), writes=(y,))


@layer
class UnlimitedOcrVisionModel(BaseLayer):
    """Both towers, one after the other, and their features joined."""

    source = SOURCE
    rationale = Rationale(
        counted="SAM, CLIP on its output, and the join of both.",
        not_counted="The drop of CLIP's class token: a view.",
        assumed="All views of one call run as one batch.",
        would_change="The view's side: SAM's global attention grows with its fourth power.",
    )

    sam: UnlimitedOcrSamVisionEncoder
    clip: UnlimitedOcrVisionEncoder

    def forward(self) -> Iterator[Step]:
        sam, clip = self.sam, self.clip
        width, rows = clip.heads * clip.head_dim, clip.views * clip.side**2
        pixels = Tensor("pixels", sam.views * sam.in_channels * (sam.patch * sam.grid) ** 2)
        features = Tensor("SAM's map", rows * sam.out_channels)
        tokens = Tensor("CLIP's tokens", (rows + clip.views) * width)
        yield Child("sam_encoder", sam, reads=(pixels,), writes=(features,))
        yield Child("vision_encoder", clip, reads=(features,), writes=(tokens,))
        yield Operation(
            "join CLIP's and SAM's features",
            "copy",
            reads=(Tensor("CLIP's features", rows * width, view_of=tokens.name), features),
            writes=(Tensor("joined", rows * (width + sam.out_channels)),),
        )
        yield keep(tokens)
