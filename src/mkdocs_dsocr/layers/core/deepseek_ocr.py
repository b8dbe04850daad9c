"""DeepseekOCRModel, in the parts that a pass runs, and the whole model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import Container, Embedding, ModuleList
from mkdocs_dsocr.layers.decoder import DeepseekV2RMSNorm
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation, Tensor, copy, elementwise, keep
from mkdocs_dsocr.layers.vision import ImageEncoderViT, MlpProjector, VitModel
from mkdocs_dsocr.quantities import Quantity


@layer
class ModelPart(BaseLayer):
    """A part of a model; the vectors that are the model's own parameters belong to every part."""

    vectors: ClassVar[tuple[str, ...]]
    """Names of these parameters."""

    hidden_size: Quantity = dim("h", "hidden size of the decoder", "elements")

    def parameters(self) -> Iterator[Parameter]:
        for name in self.vectors:
            yield Parameter(name, (self.hidden_size,))

    def _end_rows(self, source: Tensor, rows: Tensor, of: str = "") -> Operation:
        """Return the copy that ends each row of a map with a newline token."""
        newline = Tensor("image_newline", self.hidden_size, role="weight")
        return elementwise(
            f"end each row{of} with a newline token",
            0,
            (source, newline),
            rows,
            category="copy",
            pattern="per element",
            why="The newline is one parameter, expanded over the rows: read once.",
        )


def one_map(source: Tensor) -> Operation:
    """Return the copy that puts the maps of all tiles together."""
    why = "Rows of tiles side by side interleave; a single column of tiles is a view."
    return copy("tiles to one map", source, Tensor("map of all tiles", source.elements), why)


@layer
class _DeepseekOCRPart(ModelPart):
    """A part of DeepseekOCRModel."""

    module_class = "DeepseekOCRModel"
    definition = (
        "Everything but the LM head: both vision towers, the projector and the decoder. Each pass "
        "of the model runs one of its parts."
    )
    source = "modeling_deepseekocr.DeepseekOCRModel"
    vectors = ("image_newline", "view_seperator")


@layer
class VisionPart(_DeepseekOCRPart):
    """The model's vision pass: one batch of views through SAM, then through CLIP."""

    rationale = Rationale(
        counted="Both towers, on all views of the batch, and the check that there is an image.",
        not_counted="Rendering, resizing and normalising the page on the host.",
        assumed="Pages are encoded one by one unless the workload says `vision_batching: batched`: "
        "local views in one batch, the global view in another, each reading the towers' weights.",
        would_change="Encoding several pages in one batch reads the weights once for all.",
    )

    sam: ImageEncoderViT
    clip: VitModel

    def boundary(self) -> Iterator[Tensor]:
        sam, clip = self.sam, self.clip
        pixels = sam.views * sam.in_channels * (sam.patch * sam.grid) ** 2
        features = clip.views * clip.side**2
        yield Tensor("pixels", pixels)
        yield Tensor("SAM's map", features * sam.out_channels)
        yield Tensor("CLIP's tokens", (features + clip.views) * clip.heads * clip.head_dim)

    def forward(self) -> Iterator[Step]:
        pixels, features, tokens = self.boundary()
        yield from self._has_image(pixels)
        yield Child("sam_model", self.sam, reads=(pixels,), writes=(features,))
        yield Child("vision_model", self.clip, reads=(features,), writes=(tokens,))
        yield keep(features)

    def _has_image(self, pixels: Tensor) -> Iterator[Operation]:
        """Yield the check whether there is an image."""
        yield elementwise(
            "is there an image?",
            pixels.elements,
            (pixels,),
            Tensor("sum of pixels", 1),
            category="copy",
            host_syncs=1,
            pattern="reduction",
            why="The host waits for the sum of the pixels: 0 stands for no image.",
        )


@layer
class ProjectorPart(_DeepseekOCRPart):
    """The model's projector pass: features of both towers joined, projected, laid out in rows.

    Local views are put together to one map first; a newline token ends each row.
    """

    rationale = Rationale(
        counted="The join of both towers' features, the projector, the copies that lay the "
        "tokens out.",
        not_counted="Nothing.",
        assumed="CLIP's class token is dropped by a view; each layout step is a copy.",
        would_change="The projector could write its rows in place and save the copies.",
    )

    pages: Quantity = dim("B", "pages encoded at once", "pages")
    tiles_w: Quantity = dim("w_t", "views per row of tiles", "views")
    tiles_h: Quantity = dim("h_t", "rows of tiles", "views")
    side: Quantity = dim("n", "features per side of a view", "tokens")
    clip_width: Quantity = dim("d_c", "width of CLIP's features", "elements")
    sam_width: Quantity = dim("d_s", "width of SAM's features", "elements")
    tiled: bool = False

    def boundary(self) -> Iterator[Tensor]:
        rows = self.pages * self.tiles_w * self.tiles_h * self.side**2
        lines = self.pages * self.tiles_h * self.side
        yield Tensor("CLIP", rows * self.clip_width)
        yield Tensor("SAM", rows * self.sam_width)
        yield Tensor("tokens", lines * (self.tiles_w * self.side + 1) * self.hidden_size)

    def forward(self) -> Iterator[Step]:
        rows = self.pages * self.tiles_w * self.tiles_h * self.side**2
        width = self.clip_width + self.sam_width
        clip, sam, tokens = self.boundary()
        joined, projected = Tensor("joined", rows * width), Tensor("map", rows * self.hidden_size)
        name = "join CLIP's and SAM's features"
        yield elementwise(name, 0, (clip, sam), joined, category="copy", pattern="per element")
        projector = self.inner(MlpProjector, rows=rows, d_in=width)
        yield Child("projector", projector, reads=(joined,), writes=(projected,))
        if self.tiled:
            step = one_map(projected)
            yield step
            [projected] = step.writes
        yield self._end_rows(projected, tokens)


@layer
class LanguageSizes(ModelPart):
    """The dimensions of a decoder pass."""

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions per sample", "tokens")
    image_tokens: Quantity = dim("T_i", "image tokens per sample", "tokens")
    vocab_size: Quantity = dim("V", "vocabulary size", "words")
    has_images: bool

    def _embed(self, rows: Quantity) -> Embedding:
        return Embedding(rows=rows, entries=self.vocab_size, width=self.hidden_size)


@layer
class LanguagePart(LanguageSizes, _DeepseekOCRPart):
    """The model's decoder pass: embeddings, image features in their places, layers, norm.

    A prefill puts the image features of each page in the place of its image
    tokens; a decode step has none.
    """

    rationale = Rationale(
        counted="Embedding, the join of views, the masked scatter, positions, the check for "
        "padding, every layer, the last norm.",
        not_counted="Tokenising, sampling; the LM head is a separate layer.",
        assumed="The whole batch runs at once.",
        would_change="Prefill sees all tokens at once and is bound by compute; decode sees one "
        "token per sample and is bound by reading weights and cache.",
    )

    kv_len: Quantity = dim("K", "positions in the cache after the append", "tokens")
    decoder_layers: tuple[Child, ...]

    def boundary(self) -> Iterator[Tensor]:
        yield Tensor("token ids", self.batch * self.q_len, "int64")
        if self.has_images:
            yield self._image_features()
        yield self._attention_mask()

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        x, y, z = (Tensor(n, rows * self.hidden_size) for n in ("x", "layers(x)", "norm(y)"))
        ids = Tensor("token ids", rows, "int64")
        positions = Tensor("positions", self.q_len, "int64")
        yield Child("embed_tokens", self._embed(rows), reads=(ids,), writes=(x,))
        if self.has_images:
            yield from self._place_features(rows)
        yield elementwise(
            "positions",
            0,
            (),
            positions,
            category="embedding",
            why="Counted up from the cache's length; all samples share them.",
        )
        yield from self._has_padding()
        layers = ModuleList(items=self.decoder_layers)
        norm = DeepseekV2RMSNorm(rows=rows, width=self.hidden_size)
        yield Child("layers", layers, reads=(x, positions), writes=(y,))
        yield Child("norm", norm, reads=(y,), writes=(z,))
        yield keep(positions)

    def _attention_mask(self) -> Tensor:
        return Tensor("attention mask", self.batch * self.kv_len, "int64")

    def _has_padding(self) -> Iterator[Operation]:
        """Yield the check whether the attention mask has a 0."""
        mask = self._attention_mask()
        is_padding, has_any = Tensor("mask = 0", mask.elements, "bool"), Tensor("any", 1, "bool")
        step = partial(elementwise, category="attention", kernel="check of the mask")
        yield step("mask = 0", mask.elements, (mask,), is_padding)
        yield step(
            "padding?",
            mask.elements,
            (is_padding,),
            has_any,
            pattern="reduction",
            host_syncs=1,
            why="The host waits for the answer: without padding, attention needs no mask.",
        )

    def _image_features(self) -> Tensor:
        # The last image token of a page is the separator, a parameter.
        elements = self.batch * (self.image_tokens - 1) * self.hidden_size
        return Tensor("image features", elements)

    def _place_features(self, rows: Quantity) -> Iterator[Operation]:
        """Yield what puts each page's image features in the place of its image tokens."""
        tokens = self.batch * self.image_tokens
        features = Tensor("features", tokens * self.hidden_size)
        mask = Tensor("mask", rows, "bool")
        separator = Tensor(
            "view_seperator",
            self.batch * self.hidden_size,
            role="weight",
            at_least=self.hidden_size,
        )
        embeddings = Tensor("embeddings", features.elements, view_of="x")
        step = partial(
            elementwise,
            category="copy",
            kernel="place image features",
            launches=self.batch,
            pattern="per element",
        )
        yield step(
            "join views and separator",
            0,
            (self._image_features(), separator),
            features,
            why="Local views, global view and one separator, for each page.",
        )
        yield step("empty mask", 0, (), mask)
        yield step("mark image positions", 0, (), Tensor("mask", tokens, "bool"))
        yield step(
            "image features to their places",
            0,
            (features, mask),
            embeddings,
            category="embedding",
            saved_for_backward=(mask,),
            why="A masked scatter: reads the mask, writes only the image positions.",
        )


@layer
class DeepseekOCRForCausalLM(Container):
    """The whole model on the whole workload: every stage, every pass, every step.

    Vision and projector run page by page, prefill and decode in rounds of the
    batch; decode sums over its steps.
    """

    source = "modeling_deepseekocr.DeepseekOCRForCausalLM"
    rationale = Rationale(
        counted="All four stages over all pages of the workload.",
        not_counted="Image decoding, copies between host and device, sampling.",
        assumed="Decode makes max_new_tokens − 1 steps: the prefill yields the first token. "
        "Every count is affine in the context, so the steps are an arithmetic series.",
        would_change="Stopping at the end-of-text token makes fewer steps.",
    )
