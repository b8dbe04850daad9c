"""UnlimitedOcrModel, in the parts that a pass runs, and the whole model."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.builtin import Embedding, Linear
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import DType, Operation, Tensor, copy, keep
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.clip import UnlimitedOcrVisionModel
from mkdocs_dsocr.layers.unlimited.text import UnlimitedOcrTextModel
from mkdocs_dsocr.quantities import Quantity


@layer
class _ModelPart(BaseLayer):
    """A part of UnlimitedOcrModel; the model's own parameters belong to every part."""

    module_class = "UnlimitedOcrModel"
    definition = (
        "Everything but the LM head: the vision tower, the projector and the decoder. Each pass "
        "of the model runs one of its parts."
    )
    source = SOURCE

    hidden_size: Quantity = dim("h", "hidden size of the decoder", "elements")

    def parameters(self) -> Iterator[Parameter]:
        yield Parameter("view_separator", (self.hidden_size,))
        yield Parameter("image_newline", (self.hidden_size,))


@layer
class UnlimitedVisionPart(_ModelPart):
    """The model's vision pass: one batch of views through both towers."""

    rationale = Rationale(
        counted="Both towers, on all views of the batch.",
        not_counted="Rendering, resizing and normalising the page on the host.",
        assumed="Pages are encoded one by one unless the workload says `vision_batching: batched`.",
        would_change="Encoding several pages in one batch reads the weights once for all.",
    )

    tower: UnlimitedOcrVisionModel

    def boundary(self) -> Iterator[Tensor]:
        sam, clip = self.tower.sam, self.tower.clip
        width = clip.heads * clip.head_dim + sam.out_channels
        yield Tensor("pixels", sam.views * sam.in_channels * (sam.patch * sam.grid) ** 2)
        yield Tensor("features", clip.views * clip.side**2 * width)

    def forward(self) -> Iterator[Step]:
        pixels, features = self.boundary()
        yield Child("vision_tower", self.tower, reads=(pixels,), writes=(features,))


@layer
class UnlimitedFeaturesPart(_ModelPart):
    """The model's projector pass: a page's features projected and laid out in rows.

    The global view and all local views are projected by themselves; local views are put
    together to one map, a newline token ends each row, a separator the page.
    """

    rationale = Rationale(
        counted="The projector's product and bias for each kind of view, and the copies that lay "
        "the tokens out.",
        not_counted="Nothing.",
        assumed="Pages follow one another, also where their views were encoded in one batch.",
        would_change="The projector could write its rows in place and save the copies.",
    )

    side: Quantity = dim("n", "features a side of the global view", "tokens")
    tile_side: Quantity = dim("n_t", "features a side of a local view", "tokens")
    tiles_w: Quantity = dim("w_t", "local views a row", "views")
    tiles_h: Quantity = dim("h_t", "rows of local views", "views")
    width: Quantity = dim("d_v", "width of the vision tower's features", "elements")
    has_tiles: bool = False
    interleaved: bool = False
    mostly_tiles: bool = False

    def boundary(self) -> Iterator[Tensor]:
        whole, local = self.side**2, self._local_rows
        yield Tensor("features", whole * self.width)
        if self.has_tiles:
            yield Tensor("local features", local * self.width)
        yield Tensor("tokens", self._tokens * self.hidden_size)

    @property
    def _local_rows(self) -> Quantity:
        return self.tiles_w * self.tiles_h * self.tile_side**2

    @property
    def _local_tokens(self) -> Quantity:
        return self.tiles_h * self.tile_side * (self.tiles_w * self.tile_side + 1)

    @property
    def _tokens(self) -> Quantity:
        whole = self.side * (self.side + 1) + 1
        return whole + self._local_tokens if self.has_tiles else whole

    def forward(self) -> Iterator[Step]:
        *features, tokens = self.boundary()
        rows = [self.side**2, *([self._local_rows] if self.has_tiles else [])]
        projected = [
            Tensor(name, n * self.hidden_size)
            for name, n in zip(("map", "local maps"), rows, strict=False)
        ]
        linears = [Linear(rows=n, d_in=self.width, d_out=self.hidden_size, bias=True) for n in rows]
        # Two calls of any two sizes are an arithmetic series.
        yield Child(
            "multi_modal_projector",
            linears[0],
            reads=tuple(features),
            writes=tuple(projected),
            last=linears[-1],
            largest=linears[-1 if self.mostly_tiles else 0],
            steps=len(linears),
        )
        parts = [self._lines("map", projected[0], self.side * (self.side + 1))]
        yield parts[0]
        if self.has_tiles:
            source = projected[1]
            if self.interleaved:
                source = Tensor("map of all tiles", source.elements)
                yield copy(
                    "tiles to one map",
                    projected[1],
                    source,
                    why="Rows of tiles side by side interleave; a single column of tiles is a "
                    "view.",
                )
            parts.insert(0, self._lines("local map", source, self._local_tokens))
            yield parts[0]
        separator = Tensor("view_separator", self.hidden_size, role="weight")
        yield Operation(
            "join the views and a separator",
            "copy",
            reads=(*(o.writes[0] for o in parts), separator),
            writes=(tokens,),
        )
        yield keep(*projected)

    def _lines(self, name: str, source: Tensor, tokens: Quantity) -> Operation:
        """Return the operation that ends each row of a map with a newline token."""
        return Operation(
            f"end each row of the {name} with a newline token",
            "copy",
            reads=(source, Tensor("image_newline", self.hidden_size, role="weight")),
            writes=(Tensor(f"rows of the {name}", tokens * self.hidden_size),),
            why="The newline is one parameter, expanded over the rows: read once.",
        )


@layer
class UnlimitedLanguagePart(_ModelPart):
    """The model's decoder pass: embeddings, image features in their places, the decoder.

    A prefill puts the image features of each page in the place of its image
    tokens; a decode step has none.
    """

    rationale = Rationale(
        counted="Embedding, the join of the pages' features, the check that there are as many as "
        "places, the masked scatter, the decoder.",
        not_counted="Tokenising, sampling; the LM head is a layer of its own.",
        assumed="The whole batch runs at once.",
        would_change="Without the check the host would not wait for the device.",
    )

    batch: Quantity = dim("B", "samples in the batch", "samples")
    q_len: Quantity = dim("S", "new positions a sample", "tokens")
    image_tokens: Quantity = dim("T_i", "image tokens a sample", "tokens")
    vocab_size: Quantity = dim("V", "vocabulary size", "words")
    decoder: UnlimitedOcrTextModel
    has_images: bool

    def boundary(self) -> Iterator[Tensor]:
        yield Tensor("token ids", self.batch * self.q_len, "int64")
        if self.has_images:
            features = self.batch * self.image_tokens * self.hidden_size
            yield Tensor("image features", features)

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        ids, *features = self.boundary()
        x, y = (Tensor(n, rows * self.hidden_size) for n in ("embeddings", "decoder(x)"))
        embed = Embedding(rows=rows, entries=self.vocab_size, width=self.hidden_size)
        yield Child("language_model.embed_tokens", embed, reads=(ids,), writes=(x,))
        held = []
        for given in features:
            joined, mask = Tensor("features", given.elements), Tensor("mask", rows, "bool")
            whole = Tensor("x", rows * self.hidden_size)
            yield from self._place(given, joined, ids, mask, x, whole)
            x, held = whole, [joined, mask]
        yield Child("language_model", self.decoder, reads=(x,), writes=(y,))
        yield keep(x, *held)

    def _place(
        self, given: Tensor, joined: Tensor, ids: Tensor, mask: Tensor, x: Tensor, whole: Tensor
    ) -> Iterator[Operation]:
        """Yield what puts each page's image features in the place of its image tokens."""

        def one(name: str, dtype: DType = "int64") -> Tensor:
            return Tensor(name, 1, dtype)

        places, needed, same, every = (
            one("n"),
            one("n · h"),
            one("same", "bool"),
            one("all", "bool"),
        )
        steps: tuple[tuple[str, str, Quantity, tuple[Tensor, ...], Tensor, str], ...] = (
            ("join the pages' features", "copy", 0, (given,), joined, ""),
            ("mark image positions", "embedding", ids.elements, (ids,), mask, ""),
            ("count image positions", "embedding", mask.elements, (mask,), places, ""),
            ("elements of their features", "embedding", 1, (places,), needed, ""),
            ("as many as there are", "embedding", 1, (needed,), same, ""),
            (
                "true for all",
                "embedding",
                1,
                (same,),
                every,
                "The host waits for the answer before it goes on.",
            ),
            (
                "image features to their places",
                "embedding",
                0,
                (x, mask, joined),
                whole,
                "A masked scatter to a new tensor: reads and writes every embedding.",
            ),
        )
        for name, category, flops, reads, write, why in steps:
            yield Operation(
                name,
                category,
                elementwise_flops=flops,
                reads=reads,
                writes=(write,),
                synchronises=int(write is every),
                saved_for_backward=(mask,) if write is whole else (),
                why=why,
            )


@layer
class UnlimitedOcrForConditionalGeneration(BaseLayer):
    """The whole model on the whole workload: every stage, every pass, every step.

    Vision and projector run page by page, prefill and decode in rounds of the
    batch; decode sums over its steps.
    """

    source = SOURCE
    rationale = Rationale(
        counted="All four stages over all pages of the workload.",
        not_counted="Image decoding, copies between host and device, sampling.",
        assumed="Decode makes max_new_tokens − 1 steps: the prefill yields the first token. Until "
        "the window is full every count is affine in the context, and the steps are an "
        "arithmetic series; from then on all steps are equal.",
        would_change="Stopping at the end-of-text token makes fewer steps.",
    )

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Step]:
        yield from self.items
