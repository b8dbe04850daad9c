"""UnlimitedOcrModel, in the parts that a pass runs, and the whole model."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import ClassVar

from mkdocs_dsocr.layers.builtin import Container, Linear
from mkdocs_dsocr.layers.core.deepseek_ocr import LanguageSizes, ModelPart, one_map
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.layer import Child, Rationale, Step, dim, layer
from mkdocs_dsocr.layers.operations import Operation, Tensor, elementwise, keep
from mkdocs_dsocr.layers.unlimited.attention import SOURCE
from mkdocs_dsocr.layers.unlimited.clip import VisionTower
from mkdocs_dsocr.quantities import Quantity


@layer
class _UnlimitedPart(ModelPart):
    """A part of UnlimitedOcrModel."""

    module_class = "UnlimitedOcrModel"
    definition = (
        "Everything but the LM head: the vision tower, the projector and the decoder. Each pass "
        "of the model runs one of its parts."
    )
    source = SOURCE
    vectors: ClassVar[tuple[str, ...]] = ("view_separator", "image_newline")


@layer
class UnlimitedVisionPart(_UnlimitedPart):
    """The model's vision pass: one batch of views through both towers."""

    rationale = Rationale(
        counted="Both towers, on all views of the batch.",
        not_counted="Rendering, resizing and normalising the page on the host.",
        assumed="Pages are encoded one by one unless the workload says `vision_batching: batched`.",
        would_change="Encoding several pages in one batch reads the weights once for all.",
    )

    tower: VisionTower

    def boundary(self) -> Iterator[Tensor]:
        yield self.tower.pixels
        yield self.tower.features

    def forward(self) -> Iterator[Step]:
        pixels, features = self.boundary()
        yield Child("vision_tower", self.tower, reads=(pixels,), writes=(features,))


@layer
class FeaturesPart(_UnlimitedPart):
    """The model's projector pass: a page's features projected and laid out.

    The global view and all local views are projected by themselves.
    """

    width: Quantity = dim("d_v", "width of the vision tower's features", "elements")
    has_tiles: bool = False

    def _features(self) -> tuple[Quantity, Quantity]:
        """Return the features of the global view and of all local ones."""
        raise NotImplementedError

    def _tokens(self) -> Quantity:
        """Return the tokens that are made of them."""
        raise NotImplementedError

    def _parts(self, projected: list[Tensor]) -> Generator[Step, None, tuple[Tensor, ...]]:
        """Yield what lays projected views out, and return the parts of the page in order."""
        yield from ()
        return tuple(reversed(projected))

    def _rows(self) -> list[tuple[str, Quantity]]:
        whole, local = self._features()
        return [("map", whole), *([("local maps", local)] if self.has_tiles else [])]

    def boundary(self) -> Iterator[Tensor]:
        for name, (_, rows) in zip(("features", "local features"), self._rows(), strict=False):
            yield Tensor(name, rows * self.width)
        yield Tensor("tokens", self._tokens() * self.hidden_size)

    def forward(self) -> Iterator[Step]:
        *features, tokens = self.boundary()
        projected = [Tensor(name, rows * self.hidden_size) for name, rows in self._rows()]
        for read, write, (_, rows) in zip(features, projected, self._rows(), strict=True):
            linear = Linear(rows=rows, d_in=self.width, d_out=self.hidden_size, bias=True)
            yield Child("multi_modal_projector", linear, reads=(read,), writes=(write,))
        parts = yield from self._parts(projected)
        separator = Tensor("view_separator", self.hidden_size, role="weight")
        name = "join the views and a separator"
        reads = (*parts, separator)
        yield elementwise(name, 0, reads, tokens, category="copy", pattern="per element")
        yield keep(*projected)


@layer
class UnlimitedFeaturesPart(FeaturesPart):
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

    side: Quantity = dim("n", "features per side of the global view", "tokens")
    tile_side: Quantity = dim("n_t", "features per side of a local view", "tokens")
    tiles_w: Quantity = dim("w_t", "local views per row", "views")
    tiles_h: Quantity = dim("h_t", "rows of local views", "views")
    interleaved: bool = False

    def _features(self) -> tuple[Quantity, Quantity]:
        return self.side**2, self.tiles_w * self.tiles_h * self.tile_side**2

    @property
    def _local_tokens(self) -> Quantity:
        return self.tiles_h * self.tile_side * (self.tiles_w * self.tile_side + 1)

    def _tokens(self) -> Quantity:
        whole = self.side * (self.side + 1) + 1
        return whole + self._local_tokens if self.has_tiles else whole

    def _parts(self, projected: list[Tensor]) -> Generator[Step, None, tuple[Tensor, ...]]:
        parts = [self._lines("map", projected[0], self.side * (self.side + 1))]
        yield parts[0]
        if self.has_tiles:
            source = projected[1]
            if self.interleaved:
                step = one_map(source)
                yield step
                [source] = step.writes
            parts.insert(0, self._lines("local map", source, self._local_tokens))
            yield parts[0]
        return tuple(o.writes[0] for o in parts)

    def _lines(self, name: str, source: Tensor, tokens: Quantity) -> Operation:
        """Return the operation that ends each row of a map with a newline token."""
        rows = Tensor(f"rows of the {name}", tokens * self.hidden_size)
        return self._end_rows(source, rows, f" of the {name}")


@layer
class UnlimitedLanguagePart(LanguageSizes, _UnlimitedPart):
    """The model's decoder pass: embeddings, image features in their places, the decoder.

    A prefill puts the image features of each page in the place of its image
    tokens; a decode step has none.
    """

    rationale = Rationale(
        counted="Embedding, the join of the pages' features, the check that there are as many as "
        "places, the masked scatter, the decoder.",
        not_counted="Tokenising, sampling; the LM head is a separate layer.",
        assumed="The whole batch runs at once.",
        would_change="Without the check the host would not wait for the device.",
    )

    joins_features: ClassVar[bool] = True
    """Whether the features of several pages are joined first."""

    decoder: Stack

    def boundary(self) -> Iterator[Tensor]:
        yield Tensor("token ids", self.batch * self.q_len, "int64")
        if self.has_images:
            features = self.batch * self.image_tokens * self.hidden_size
            yield Tensor("image features", features)

    def forward(self) -> Iterator[Step]:
        rows = self.batch * self.q_len
        ids, *features = self.boundary()
        x, y = (Tensor(n, rows * self.hidden_size) for n in ("embeddings", "decoder(x)"))
        yield Child("language_model.embed_tokens", self._embed(rows), reads=(ids,), writes=(x,))
        held = []
        for given in features:
            joined = Tensor("features", given.elements) if self.joins_features else given
            mask = Tensor("mask", rows, "bool")
            whole = Tensor("x", rows * self.hidden_size)
            yield from self._place(given, joined, ids, mask, x, whole)
            x, held = whole, [joined, mask]
        yield Child("language_model", self.decoder, reads=(x,), writes=(y,))
        yield keep(x, *held)

    def _place(
        self, given: Tensor, joined: Tensor, ids: Tensor, mask: Tensor, x: Tensor, whole: Tensor
    ) -> Iterator[Operation]:
        """Yield what puts each page's image features in the place of its image tokens."""
        places, needed = (Tensor(n, 1, "int64") for n in ("n", "n · h"))
        same, every = (Tensor(n, 1, "bool") for n in ("same", "all"))
        step = partial(elementwise, category="embedding")
        each = partial(step, pattern="per element")
        if self.joins_features:
            yield each("join the pages' features", 0, (given,), joined, category="copy")
        yield step("mark image positions", ids.elements, (ids,), mask)
        yield step("count image positions", mask.elements, (mask,), places, pattern="reduction")
        yield step("elements of their features", 1, (places,), needed)
        yield step("as many as there are", 1, (needed,), same)
        yield step(
            "true for all",
            1,
            (same,),
            every,
            host_syncs=1,
            why="The host waits for the answer before it goes on.",
        )
        yield each(
            "image features to their places",
            0,
            (x, mask, joined),
            whole,
            saved_for_backward=(mask,),
            why="A masked scatter to a new tensor: reads and writes every embedding.",
        )


@layer
class UnlimitedOcrForConditionalGeneration(Container):
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
