"""The body of CLIP ViT-L/14, fed with SAM's features."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import (
    Embedding,
    LayerNorm,
    Linear,
    ModuleList,
    UnusedConv2d,
    dot_product_attention,
)
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor, elementwise, keep
from mkdocs_dsocr.layers.prenorm import pre_norm
from mkdocs_dsocr.layers.vision.interpolation import resize_table
from mkdocs_dsocr.layers.vision.mlp import NoTPFeedForward
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity


@layer
class VisionEmbeddings(BaseLayer):
    """What all embeddings of CLIP share: a class token, and positions for all tokens."""

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features per side, as SAM leaves them", "tokens")
    width: Quantity = dim("d", "width of a token", "elements")
    table_side: Quantity = dim("t", "side of the trained position table", "tokens")
    resize: bool = False

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("class_embedding", (self.width,))

    def _table(self) -> Embedding:
        entries = self.table_side**2 + 1
        return Embedding(rows=entries, entries=entries, width=self.width, constant=True)

    def _positions(self) -> Generator[Step, None, Tensor]:
        """Yield what makes the positions, and return them."""
        raise NotImplementedError

    def forward(self) -> Iterator[Step]:
        elements = self.views * (self.side**2 + 1) * self.width
        tokens = Tensor("tokens", elements)
        features = Tensor("features", self.views * self.side**2 * self.width)
        yield elementwise(
            "class token, then features",
            0,
            (features, Tensor("class_embedding", self.width, role="weight")),
            tokens,
            category="copy",
            pattern="per element",
            why="The class token is expanded over the views: its storage is read once.",
        )
        positions = yield from self._positions()
        both = (tokens, positions)
        y = Tensor("y", elements)
        name = "tokens + positions"
        yield elementwise(name, elements, both, y, category="embedding", pattern="per element")


@layer
class CLIPVisionEmbeddings(VisionEmbeddings):
    """A class token before SAM's features, and a position for each.

    CLIP's own patch convolution is a parameter that never runs: SAM's output
    takes the place of its patches.
    """

    source = "deepencoder.CLIPVisionEmbeddings"
    rationale = Rationale(
        counted="The join with the class token, the lookup of positions, their addition.",
        not_counted="The patch convolution: its weight is resident, but it is never called.",
        assumed="Positions are looked up once for all views of the batch.",
        would_change="Another number of patches than trained resizes the table by bicubic "
        "interpolation, the class token's position apart.",
    )

    in_channels: Quantity = dim("C_in", "colour channels of the unused convolution")
    patch: Quantity = dim("p", "side of the unused convolution's kernel", "px")

    def forward(self) -> Iterator[Step]:
        unused = self.inner(UnusedConv2d, out_channels=self.width, kernel=self.patch)
        yield Child("patch_embedding", unused)
        yield from super().forward()

    def _positions(self) -> Generator[Step, None, Tensor]:
        table = Tensor("table", (self.table_side**2 + 1) * self.width)
        yield Child("position_embedding", self._table(), writes=(table,))
        if not self.resize:
            return table
        square = Tensor("square", self.table_side**2 * self.width, view_of="table")
        yield from resize_table(self.table_side, self.side, self.width, square, "resized")
        resized = Tensor("resized", self.side**2 * self.width)
        positions = Tensor("positions", (self.side**2 + 1) * self.width)
        reads = (resized, Tensor("class", self.width, view_of="table"))
        name = "class position, then resized ones"
        yield elementwise(name, 0, reads, positions, category="copy", pattern="per element")
        return positions


@layer
class ViewTokens(BaseLayer):
    """The dimensions of what works on the tokens of views."""

    views: Quantity = dim("B", "views in the batch", "views")
    seq_len: Quantity = dim("S", "tokens per view, class token included", "tokens")
    heads: Quantity = dim("H", "attention heads")
    head_dim: Quantity = dim("d", "width of a head", "elements")


@layer
class NoTPAttention(ViewTokens):
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

    def _project(self, x: Tensor) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield the projections of the input, and return queries, keys and values."""
        width = self.heads * self.head_dim
        qkv = Tensor("qkv", 3 * x.elements)
        project = Linear(rows=self.views * self.seq_len, d_in=width, d_out=3 * width, bias=True)
        yield Child("qkv_proj", project, reads=(x,), writes=(qkv,))
        return (qkv,)

    def forward(self) -> Iterator[Step]:
        width, rows = self.heads * self.head_dim, self.views * self.seq_len
        x, o, y = (Tensor(n, rows * width) for n in ("x", "o", "y"))
        projected = yield from self._project(x)
        yield dot_product_attention(
            "scaled dot-product attention",
            (self.views * self.heads * self.seq_len, self.seq_len, self.head_dim),
            self.views * self.heads,
            projected,
            o,
            why="Q Kᵀ and P V: 2 products of 2·pairs·d each; a softmax over each row of pairs.",
        )
        out_proj = Linear(rows=rows, d_in=width, d_out=width, bias=True)
        yield Child("out_proj", out_proj, reads=(o,), writes=(y,))
        yield keep(*projected)


@layer
class NoTPTransformerBlock(ViewTokens):
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

    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")

    def _attend(self, normed: Tensor, attended: Tensor) -> Iterator[Step]:
        yield Child("self_attn", self.inner(self.attention), reads=(normed,), writes=(attended,))

    def forward(self) -> Iterator[Step]:
        width, rows = self.heads * self.head_dim, self.views * self.seq_len
        norm = LayerNorm(rows=rows, width=width)
        mlp = self.mlp(rows=rows, width=width, hidden=self.mlp_hidden)
        norms = ("layer_norm1", "layer_norm2")
        yield from pre_norm(rows * width, norm, self._attend, mlp, norms=norms)


@layer
class NoTPTransformer(ViewTokens):
    """CLIP's stack of equal blocks."""

    source = "deepencoder.NoTPTransformer (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Every block, once.",
        not_counted="Nothing.",
        assumed="Blocks are equal in shape and run in sequence.",
        would_change="The number of tokens per view.",
    )

    block: ClassVar[type[NoTPTransformerBlock]] = NoTPTransformerBlock

    mlp_hidden: Quantity = dim("m", "width inside the MLP", "elements")
    depth: int

    def forward(self) -> Iterator[Step]:
        items = (Child(indices(range(self.depth)), self.inner(self.block), self.depth, "for"),)
        elements = self.views * self.seq_len * self.heads * self.head_dim
        x, y = Tensor("x", elements), Tensor("y", elements)
        yield Child("layers", ModuleList(items=items), reads=(x,), writes=(y,))


@layer
class VisionTransformer(BaseLayer):
    """What all CLIP towers share: embeddings, a first norm, the stack of blocks."""

    embeddings: ClassVar[type[VisionEmbeddings]]
    stack: ClassVar[type[NoTPTransformer]]
    stack_name: ClassVar[str]
    """Name of the module that is the stack."""

    views: Quantity = dim("B", "views in the batch", "views")
    side: Quantity = dim("n", "features per side, as SAM leaves them", "tokens")
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
            Tensor(n, self.views * seq_len * width) for n in ("embedded", "normed", "y")
        )
        embeddings = self.inner(self.embeddings, width=width)
        norm = LayerNorm(rows=self.views * seq_len, width=width)
        stack = self.inner(self.stack, seq_len=seq_len)
        yield Child("embeddings", embeddings, reads=(features,), writes=(embedded,))
        yield Child("pre_layrnorm", norm, reads=(embedded,), writes=(normed,))
        yield Child(self.stack_name, stack, reads=(normed,), writes=(y,))


@layer
class VitModel(VisionTransformer):
    """CLIP's body: positions, a first norm, the stack of blocks."""

    source = "deepencoder.VitModel (CLIP ViT-L/14)"
    rationale = Rationale(
        counted="Embeddings, the norm before the stack, every block.",
        not_counted="A final norm or projection: the model has none here.",
        assumed="SAM's map of n² features is a sequence by a view, without a copy.",
        would_change="The view's side: a view of side s gives (s/64)² + 1 tokens.",
    )

    embeddings = CLIPVisionEmbeddings
    stack = NoTPTransformer
    stack_name = "transformer"

    in_channels: Quantity = dim("C_in", "colour channels of the unused convolution")
    patch: Quantity = dim("p", "side of the unused convolution's kernel", "px")
