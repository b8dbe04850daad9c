"""The body of CLIP ViT-L/14, fed with SAM's features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.builtin import Embedding, LayerNorm, Linear, ModuleList, UnusedConv2d
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Product, Tensor, keep, residual
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.layers.vision.mlp import NoTPFeedForward
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity


@layer
class CLIPVisionEmbeddings(BaseLayer):
    """A class token before SAM's features, and a position for each.

    CLIP's own patch convolution is a parameter that never runs: SAM's output
    takes the place of its patches.
    """

    source = "deepencoder.CLIPVisionEmbeddings"
    rationale = Rationale(
        counted="The join with the class token, the lookup of positions, their addition.",
        not_counted="The patch convolution: its weight is resident and nothing calls it.",
        assumed="Positions are looked up once for all views of the batch.",
        would_change="Another number of patches than trained resizes the table by bicubic "
        "interpolation, the class token's position apart.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features a side, as SAM leaves them", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    table_side: Quantity = dim("t", "side of the trained position table", "tokens")
    in_channels: Quantity = dim("C_in", "colour channels of the unused convolution")
    patch: Quantity = dim("p", "side of the unused convolution's kernel", "px")
    resize: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("class_embedding", (self.width,))

    def forward(self) -> Iterator[Step]:
        features = self.views * self.side**2 * self.width
        elements = self.views * (self.side**2 + 1) * self.width
        entries = self.table_side**2 + 1
        yield Child(
            "patch_embedding",
            UnusedConv2d(in_channels=self.in_channels, out_channels=self.width, kernel=self.patch),
        )
        tokens, positions = Tensor("tokens", elements), Tensor("table", entries * self.width)
        yield Operation(
            "class token, then features",
            "copy",
            reads=(
                Tensor("features", features),
                Tensor("class_embedding", self.width, role="weight"),
            ),
            writes=(tokens,),
            why="The class token is expanded over the views: its storage is read once.",
        )
        embedding = Embedding(rows=entries, entries=entries, width=self.width, constant=True)
        yield Child("position_embedding", embedding, writes=(positions,))
        if self.resize:
            square = Tensor("square", self.table_side**2 * self.width, view_of="table")
            yield from resize_table(self.table_side, self.side, self.width, square, "resized")
            positions = Tensor("positions", (self.side**2 + 1) * self.width)
            yield Operation(
                "class position, then resized ones",
                "copy",
                reads=(
                    Tensor("resized", self.side**2 * self.width),
                    Tensor("class", self.width, view_of="table"),
                ),
                writes=(positions,),
            )
        yield Operation(
            "tokens + positions",
            "embedding",
            elementwise_flops=elements,
            reads=(tokens, positions),
            writes=(Tensor("y", elements),),
        )


@layer
class NoTPAttention(BaseLayer):
    """CLIP's multi-head attention over all tokens of a view, without a mask."""

    source = "deepencoder.NoTPAttention (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="One projection to q, k and v, the attention over all pairs, the output "
        "projection.",
        not_counted="Copies: q, k and v are views of one tensor, and the attention kernel "
        "writes tokens first.",
        assumed="SDPA is one kernel that keeps the scores on chip.",
        would_change="Without FlashAttention B·H·S² scores would be written and read.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    seq_len: Quantity = dim("S", "tokens a view, class token included", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")

    def forward(self) -> Iterator[Step]:
        width = self.heads * self.head_dim
        rows = self.views * self.seq_len
        queries = self.views * self.heads * self.seq_len
        pairs = queries * self.seq_len
        x, o, y = (Tensor(n, rows * width) for n in ("x", "o", "y"))
        qkv = Tensor("qkv", 3 * rows * width)
        project = Linear(rows=rows, d_in=width, d_out=3 * width, bias=True)
        yield Child("qkv_proj", project, reads=(x,), writes=(qkv,))
        yield Operation(
            "scaled dot-product attention",
            "attention",
            products=(
                Product(queries, self.head_dim, self.seq_len, self.views * self.heads),
                Product(queries, self.seq_len, self.head_dim, self.views * self.heads),
            ),
            elementwise_flops=costs.SOFTMAX * pairs,
            unit="tensor",
            reads=(qkv,),
            writes=(o,),
            saved_for_backward=(qkv, o, Tensor("log-sum-exp", queries, "float32")),
            recomputes=True,
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax over each row of pairs.",
        )
        out_proj = Linear(rows=rows, d_in=width, d_out=width, bias=True)
        yield Child("out_proj", out_proj, reads=(o,), writes=(y,))
        yield keep(qkv)


@layer
class NoTPTransformerBlock(BaseLayer):
    """CLIP's pre-norm block: attention and MLP, each with a residual."""

    source = "deepencoder.NoTPTransformerBlock (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Both norms, attention, MLP and both residual additions.",
        not_counted="Fusion of a residual addition with the norm that follows it.",
        assumed="Every part is called once a block.",
        would_change="Under autocast the residual stream is float32: twice its bytes.",
    )

    attention: ClassVar[type[NoTPAttention]] = NoTPAttention
    mlp: ClassVar[type[NoTPFeedForward]] = NoTPFeedForward

    views: Quantity = dim("B", "views in the batch", "views")
    seq_len: Quantity = dim("S", "tokens a view, class token included", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")

    def forward(self) -> Iterator[Step]:
        width = self.heads * self.head_dim
        rows = self.views * self.seq_len
        attention = self.attention(
            views=self.views, seq_len=self.seq_len, heads=self.heads, head_dim=self.head_dim
        )
        names = ("x", "norm1(x)", "attn(norm1(x))", "y", "norm2(y)", "mlp(norm2(y))", "z")
        x, normed, attended, y, normed_y, mapped, z = (Tensor(n, rows * width) for n in names)
        norm = LayerNorm(rows=rows, width=width)
        mlp = self.mlp(rows=rows, width=width, hidden=self.mlp_hidden)
        yield Child("layer_norm1", norm, reads=(x,), writes=(normed,))
        yield Child("self_attn", attention, reads=(normed,), writes=(attended,))
        yield residual(x, attended, y, "x + attn(norm1(x))")
        yield Child("layer_norm2", norm, reads=(y,), writes=(normed_y,))
        yield Child("mlp", mlp, reads=(normed_y,), writes=(mapped,))
        yield residual(y, mapped, z, "y + mlp(norm2(y))")


@layer
class NoTPTransformer(BaseLayer):
    """CLIP's stack of equal blocks."""

    source = "deepencoder.NoTPTransformer (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Every block, once.",
        not_counted="Nothing.",
        assumed="Blocks are equal in shape and run in sequence.",
        would_change="The number of tokens a view.",
    )

    block: ClassVar[type[NoTPTransformerBlock]] = NoTPTransformerBlock

    views: Quantity = dim("B", "views in the batch", "views")
    seq_len: Quantity = dim("S", "tokens a view, class token included", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    depth: int

    def forward(self) -> Iterator[Step]:
        block = self.block(
            views=self.views,
            seq_len=self.seq_len,
            heads=self.heads,
            head_dim=self.head_dim,
            mlp_hidden=self.mlp_hidden,
        )
        items = (Child(indices(range(self.depth)), block, self.depth, "for"),)
        elements = self.views * self.seq_len * self.heads * self.head_dim
        x, y = Tensor("x", elements), Tensor("y", elements)
        yield Child("layers", ModuleList(items=items), reads=(x,), writes=(y,))


@layer
class VitModel(BaseLayer):
    """CLIP's body: positions, a first norm, the stack of blocks."""

    source = "deepencoder.VitModel (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Embeddings, the norm before the stack, every block.",
        not_counted="A final norm or projection: the model has none here.",
        assumed="SAM's map of n² features is a sequence by a view, without a copy.",
        would_change="The view's side: a view of side s gives (s/64)² + 1 tokens.",
    )

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features a side, as SAM leaves them", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")
    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    table_side: Quantity = dim("t", "side of the trained position table", "tokens")
    in_channels: Quantity = dim("C_in", "colour channels of the unused convolution")
    patch: Quantity = dim("p", "side of the unused convolution's kernel", "px")
    depth: int
    resize: bool

    def forward(self) -> Iterator[Step]:
        width = self.heads * self.head_dim
        seq_len = self.side**2 + 1
        elements = self.views * seq_len * width
        features = Tensor("features", self.views * self.side**2 * width)
        embedded, normed, y = (Tensor(n, elements) for n in ("embedded", "normed", "y"))
        embeddings = CLIPVisionEmbeddings(
            views=self.views,
            side=self.side,
            width=width,
            table_side=self.table_side,
            in_channels=self.in_channels,
            patch=self.patch,
            resize=self.resize,
        )
        transformer = NoTPTransformer(
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
        yield Child("transformer", transformer, reads=(normed,), writes=(y,))
