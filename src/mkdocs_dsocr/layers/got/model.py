"""GotOcr2Model, in the parts that a pass runs, and the whole model."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.core.deepseek_ocr import ModelPart
from mkdocs_dsocr.layers.got.names import SOURCE
from mkdocs_dsocr.layers.got.vision import GotOcr2MultiModalProjector, GotOcr2VisionEncoder
from mkdocs_dsocr.layers.layer import Child, Parameter, Rationale, Step, layer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.unlimited import (
    UnlimitedLanguagePart,
    UnlimitedOcrForConditionalGeneration,
    UnlimitedVisionPart,
)


@layer
class TiedLMHead(Linear):
    """Scores of every word of the vocabulary, by the weights of the embedding."""

    module_class = "Linear"
    source = "torch.nn.Linear (lm_head), whose weight is that of embed_tokens"
    rationale = Linear.rationale._replace(
        not_counted="Its parameters: they are the embedding's, counted and stored there."
    )

    def parameters(self) -> Iterator[Parameter]:
        yield from ()


class _GotPart(ModelPart):
    """A part of GotOcr2Model."""

    module_class = "GotOcr2Model"
    definition = (
        "Everything but the LM head: the vision tower, the projector and the decoder. Each pass "
        "of the model runs one of its parts."
    )
    source = SOURCE
    vectors = ()


@layer
class GotOcr2VisionPart(_GotPart):
    """The model's vision pass: all views of a page, in one batch, through SAM."""

    rationale = UnlimitedVisionPart.rationale._replace(counted="SAM, on all views of the batch.")

    tower: GotOcr2VisionEncoder

    def boundary(self) -> Iterator[Tensor]:
        yield self.tower.pixels
        yield self.tower.features

    def forward(self) -> Iterator[Step]:
        pixels, features = self.boundary()
        yield Child("vision_tower", self.tower, reads=(pixels,), writes=(features,))


@layer
class GotOcr2FeaturesPart(_GotPart):
    """The model's projector pass: SAM's maps of all views of a page become tokens."""

    rationale = Rationale(
        counted="The projector.",
        not_counted="Nothing.",
        assumed="Views follow one another: their tokens are not laid out.",
        would_change="The number of views.",
    )

    projector: GotOcr2MultiModalProjector

    def boundary(self) -> Iterator[Tensor]:
        projector = self.projector
        yield Tensor("features", projector.views * projector.grid**2 * projector.channels)
        yield projector.tokens

    def forward(self) -> Iterator[Step]:
        features, tokens = self.boundary()
        yield Child("multi_modal_projector", self.projector, reads=(features,), writes=(tokens,))


@layer
class GotOcr2LanguagePart(UnlimitedLanguagePart):
    """The model's decoder pass: embeddings, image features in their places, the decoder.

    A prefill puts the image features of all pages in the place of their image
    tokens; a decode step has none.
    """

    module_class = "GotOcr2Model"
    definition = _GotPart.definition
    source = SOURCE
    vectors = ()
    rationale = UnlimitedLanguagePart.rationale._replace(
        counted="Embedding, the check that there are as many features as places, the masked "
        "scatter, the decoder."
    )
    joins_features = False


@layer
class GotOcr2ForConditionalGeneration(UnlimitedOcrForConditionalGeneration):
    """The whole model on the whole workload: every stage, every pass, every step.

    Vision and projector run page by page, prefill and decode in rounds of the
    batch; decode sums over its steps.
    """

    source = SOURCE
    rationale = UnlimitedOcrForConditionalGeneration.rationale._replace(
        assumed="Decode makes max_new_tokens − 1 steps: the prefill yields the first token. "
        "Every count is affine in the context, so the steps are an arithmetic series."
    )
