"""DeepSeek-OCR-2: its passes and modules, as their difference from Unlimited-OCR's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import EncoderConfig
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.ocr2 import (
    DeepseekOcr2FeaturesPart,
    DeepseekOcr2ForConditionalGeneration,
    DeepseekOcr2LanguagePart,
    DeepseekOcr2SamVisionEncoder,
    DeepseekOcr2TextModel,
    DeepseekOcr2VisionEncoder,
    DeepseekOcr2VisionEncoderLayer,
    DeepseekOcr2VisionModel,
    DeepseekOcr2VisionPart,
    DenseOcr2Layer,
    SparseOcr2Layer,
)
from mkdocs_dsocr.models import ocr2_config, sizes, tokens
from mkdocs_dsocr.models.batch import Batch, Sizes
from mkdocs_dsocr.models.door import Choices
from mkdocs_dsocr.models.unlimited_ocr import UnlimitedOCR
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import less
from mkdocs_dsocr.trace import PassShape

FEW, MANY = constants.OCR2_QUERIES


class DeepSeekOCR2(UnlimitedOCR):
    """deepseek-ai/DeepSeek-OCR-2 as transformers ships it."""

    architecture = ocr2_config.ARCHITECTURE
    aliases = ()
    title = "DeepSeek-OCR-2"
    vision = (
        "The vision backbone is SAM ViT-B followed by a language model of 0.5 B parameters that "
        "reads SAM's features and learned queries."
    )
    max_tiles = constants.OCR2_MAX_TILES
    tile_size = constants.OCR2_TILE_SIZE
    layout = tokens.QUERIES
    tower = "encoder"
    session = "mkdocs_dsocr.tracing.deepseek_ocr2:DeepSeekOcr2Session"
    language_part = DeepseekOcr2LanguagePart
    decoder = DeepseekOcr2TextModel
    dense_layer = DenseOcr2Layer
    sparse_layer = SparseOcr2Layer

    def parse(self, path: Path, content: Mapping[str, Any]) -> ModelConfig:
        return ocr2_config.parse(path, content)

    def notes(self, batch: Batch) -> Iterable[str]:
        views = [batch.global_view, *([batch.image_size] if batch.has_tiles else [])]
        for view in views:
            side = tokens.features_a_side(view)
            if side**2 not in (FEW, MANY):
                yield (
                    f"A view of {view:,} px has {side}² features and {tokens.queries(view)} "
                    "queries: counted, though the model's own processor expects as many tokens as "
                    "features, and serves views of 768 and 1,024 px alone."
                )

    def choices(self, config: ModelConfig, pass_id: str, sizes_: Sizes) -> Choices:
        if pass_id.startswith("vision"):
            few = tokens.has_few_queries(sizes_["image_size"])
            return {**sizes.sam_choices(config, sizes_), "few_queries": few}
        if pass_id.startswith("projector"):
            return {
                "has_tiles": less(0, sizes_["tile_size"]),
                "few_queries": tokens.has_few_queries(sizes_["image_size"]),
                "few_tile_queries": tokens.has_few_queries(sizes_["tile_size"]),
            }
        return super().choices(config, pass_id, sizes_)

    def whole(self, items: tuple[Child, ...]) -> BaseLayer:
        return DeepseekOcr2ForConditionalGeneration(items=items)

    def _vision(self, config: ModelConfig, shape: PassShape, chosen: Choices) -> BaseLayer:
        encoder = config.tower(EncoderConfig)
        features = tokens.features_a_side(shape.image_size) ** 2
        positions = features + (FEW if chosen["few_queries"] else MANY)
        common: dict[str, Any] = {
            "batch": shape.views,
            "q_len": positions,
            "kv_len": positions,
            "features": features,
            "hidden_size": encoder.width,
            "head_dim": encoder.width // encoder.heads,
        }
        layer = DeepseekOcr2VisionEncoderLayer(
            intermediate_size=encoder.mlp_width,
            heads=encoder.heads,
            kv_heads=encoder.kv_heads,
            # A single head of keys and values is expanded to all queries by a view.
            grouped=1 < encoder.kv_heads < encoder.heads,
            **common,
        )
        depth = range(encoder.layers)
        layers = (Child(indices(depth), layer, len(depth), "for"),)
        tower = DeepseekOcr2VisionModel(
            sam=DeepseekOcr2SamVisionEncoder(**sizes.sam(config, shape, chosen)),
            encoder=DeepseekOcr2VisionEncoder(decoder_layers=layers, **common),
            few=FEW,
            many=MANY,
        )
        return DeepseekOcr2VisionPart(hidden_size=config.language.hidden_size, tower=tower)

    def _features(self, config: ModelConfig, shape: PassShape, chosen: Choices) -> BaseLayer:
        return DeepseekOcr2FeaturesPart(
            hidden_size=config.language.hidden_size,
            width=config.tower(EncoderConfig).width,
            queries=FEW if chosen["few_queries"] else MANY,
            tile_queries=FEW if chosen["few_tile_queries"] else MANY,
            tiles=shape.tiles_w * shape.tiles_h,
            has_tiles=chosen["has_tiles"],
        )

    def _windowed(self, shape: PassShape) -> dict[str, Any]:
        return {}


MODEL: Final = DeepSeekOCR2()
