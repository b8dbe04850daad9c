"""DeepseekOcr2Model, in the parts that a pass runs, and the whole model."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from mkdocs_dsocr.layers.layer import Rationale, dim, layer
from mkdocs_dsocr.layers.ocr2.names import SOURCE, named
from mkdocs_dsocr.layers.unlimited import (
    UnlimitedLanguagePart,
    UnlimitedOcrForConditionalGeneration,
    UnlimitedVisionPart,
)
from mkdocs_dsocr.layers.unlimited.model import FeaturesPart
from mkdocs_dsocr.quantities import Quantity

_PART: Final[dict[str, Any]] = {
    "module_class": "DeepseekOcr2Model",
    "vectors": ("view_separator",),
}
own = partial(named, __name__)
DeepseekOcr2VisionPart = own(UnlimitedVisionPart, "VisionPart", **_PART)
DeepseekOcr2LanguagePart = own(UnlimitedLanguagePart, "LanguagePart", **_PART)
DeepseekOcr2ForConditionalGeneration = own(
    UnlimitedOcrForConditionalGeneration,
    "ForConditionalGeneration",
    rationale=UnlimitedOcrForConditionalGeneration.rationale._replace(
        assumed="Decode makes max_new_tokens − 1 steps: the prefill yields the first token. "
        "Every count is affine in the context, so the steps are an arithmetic series."
    ),
)


@layer
class DeepseekOcr2FeaturesPart(FeaturesPart):
    """The model's projector pass: a page's features projected and joined.

    The global view and all local views are projected by themselves. Tokens of the local views
    come first, then those of the global view, then a separator.
    """

    module_class = _PART["module_class"]
    vectors = _PART["vectors"]
    source = SOURCE
    rationale = Rationale(
        counted="The projector's product and bias for each kind of view, and the copy that joins "
        "the tokens.",
        not_counted="Nothing.",
        assumed="Pages follow one another, also where their views were encoded in one batch.",
        would_change="The projector could write its rows in place and save the copy.",
    )

    queries: Quantity = dim("Q", "queries of the global view", "tokens")
    tile_queries: Quantity = dim("Q_t", "queries of a local view", "tokens")
    tiles: Quantity = dim("T", "local views", "views")

    def _features(self) -> tuple[Quantity, Quantity]:
        return self.queries, self.tiles * self.tile_queries

    def _tokens(self) -> Quantity:
        whole, local = self._features()
        return whole + local + 1 if self.has_tiles else whole + 1
