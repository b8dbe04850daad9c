"""Unlimited-OCR: which passes it runs, and what each calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.layers.builtin import Linear
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.unlimited import (
    DenseTextLayer,
    SparseTextLayer,
    UnlimitedFeaturesPart,
    UnlimitedLanguagePart,
    UnlimitedOcrForConditionalGeneration,
    UnlimitedOcrSamVisionEncoder,
    UnlimitedOcrTextModel,
    UnlimitedOcrVisionEncoder,
    UnlimitedOcrVisionModel,
    UnlimitedVisionPart,
)
from mkdocs_dsocr.models import sizes, unlimited_config
from mkdocs_dsocr.models.batch import Batch, BatchPass, Sizes
from mkdocs_dsocr.models.door import Choices, Load, Model
from mkdocs_dsocr.models.sizes import towers_choices
from mkdocs_dsocr.models.tokens import features_a_side
from mkdocs_dsocr.quantities import less, select
from mkdocs_dsocr.trace import PassShape


class UnlimitedOCR(Model):
    """baidu/Unlimited-OCR as transformers ships it."""

    architecture = unlimited_config.ARCHITECTURE
    aliases: ClassVar[tuple[str, ...]] = (unlimited_config.PUBLISHED,)
    title = "Unlimited-OCR"
    vision = "The vision backbone is SAM ViT-B followed by CLIP ViT-L."
    traced = "the implementation that transformers ships, built without weights and run as it is"
    max_tiles = 32
    """transformers 5.23.0, image_processing_unlimited_ocr.py: max_patches."""
    session = "mkdocs_dsocr.tracing.unlimited_ocr:UnlimitedOcrSession"
    packages = ("transformers",)
    reads_many_pages = True
    language_part: ClassVar[type[UnlimitedLanguagePart]] = UnlimitedLanguagePart
    decoder: ClassVar[type[Stack]] = UnlimitedOcrTextModel
    dense_layer: ClassVar[Callable[..., BaseLayer]] = DenseTextLayer
    sparse_layer: ClassVar[Callable[..., BaseLayer]] = SparseTextLayer

    def parse(self, path: Path, content: Mapping[str, Any]) -> ModelConfig:
        return unlimited_config.parse(path, content)

    def passes(self, config: ModelConfig, batch: Batch) -> Iterable[BatchPass]:
        features = {
            "image_size": batch.global_view,
            "tile_size": select(batch.has_tiles, batch.image_size, 0),
            "tiles_w": batch.tiles_w,
            "tiles_h": batch.tiles_h,
            "pages": 1,
        }
        yield from batch.views("vision")
        yield BatchPass(
            "projector",
            "projector.page",
            "projector",
            features,
            calls=batch.has_image * batch.pages,
            follows_batch=0,
        )
        yield from batch.language(self.window(config))

    def window(self, config: ModelConfig) -> int:
        return config.language.sliding_window or 0

    def choices(self, config: ModelConfig, pass_id: str, sizes: Sizes) -> Choices:
        if pass_id.startswith("vision"):
            return towers_choices(config, sizes)
        if pass_id.startswith("projector"):
            tile_side = features_a_side(sizes["tile_size"])
            return {
                "has_tiles": less(0, tile_side),
                "interleaved": less(1, sizes["tiles_w"]) * less(1, tile_side),
            }
        return {"has_images": less(0, sizes["image_tokens"])}

    def modules(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        if shape.part == "language":
            yield from self._language(config, shape, load, chosen)
            return
        make = self._vision if shape.part == "vision" else self._features
        part = make(config, shape, chosen)
        *given, made = part.boundary()
        yield Child("model", part, reads=tuple(given), writes=(made,))

    def whole(self, items: tuple[Child, ...]) -> BaseLayer:
        return UnlimitedOcrForConditionalGeneration(items=items)

    def traced_load(self, config: ModelConfig, matmul_flops: Mapping[str, int]) -> Load:
        """Return all experts: the grouped product is handed the weights of each."""
        return Load(config.language.n_routed_experts, 0)

    def _vision(self, config: ModelConfig, shape: PassShape, chosen: Choices) -> BaseLayer:
        """Return the part that encodes views."""
        tower = UnlimitedOcrVisionModel(
            sam=UnlimitedOcrSamVisionEncoder(**sizes.sam(config, shape, chosen)),
            clip=UnlimitedOcrVisionEncoder(**sizes.clip(config, shape, chosen)),
        )
        return UnlimitedVisionPart(hidden_size=config.language.hidden_size, tower=tower)

    def _features(self, config: ModelConfig, shape: PassShape, chosen: Choices) -> BaseLayer:
        """Return the part that projects features."""
        return UnlimitedFeaturesPart(
            hidden_size=config.language.hidden_size,
            side=features_a_side(shape.image_size),
            tile_side=features_a_side(shape.tile_size),
            tiles_w=shape.tiles_w,
            tiles_h=shape.tiles_h,
            width=config.tower(ClipConfig).width + config.sam.downsample_channels[-1],
            **chosen,
        )

    def _language(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        language = config.language
        rows, width = shape.batch * shape.logits, language.hidden_size
        part = self.language_part(
            hidden_size=width,
            batch=shape.batch,
            q_len=shape.q_len,
            image_tokens=shape.image_tokens,
            vocab_size=language.vocab_size,
            decoder=self._decoder(config, shape, load),
            has_images=chosen["has_images"],
        )
        head = Linear(rows=rows, d_in=width, d_out=language.vocab_size)
        hidden = Tensor("hidden states", shape.batch * shape.q_len * width)
        asked_for = Tensor("those that get logits", rows * width, view_of=hidden.name)
        logits = Tensor("logits", rows * language.vocab_size)
        yield Child("model", part, reads=tuple(part.boundary()), writes=(hidden,))
        yield Child("lm_head", head, reads=(asked_for,), writes=(logits,))

    def _decoder(self, config: ModelConfig, shape: PassShape, load: Load) -> Stack:
        """Return the decoder."""
        language = config.language
        sizes_of_all: dict[str, Any] = {
            "batch": shape.batch,
            "q_len": shape.q_len,
            "kv_len": shape.kv_len,
            "hidden_size": language.hidden_size,
            "head_dim": language.head_dim,
        }
        common = {
            **sizes_of_all,
            "heads": language.num_attention_heads,
            **self._windowed(shape),
        }
        dense = self.dense_layer(intermediate_size=language.intermediate_size, **common)
        sparse = self.sparse_layer(**sizes.experts(config, load), **common)
        layers = sizes.decoder_layers(config, dense, sparse)
        return self.decoder(decoder_layers=layers, **sizes_of_all)

    def _windowed(self, shape: PassShape) -> dict[str, Any]:
        """Return the fields of decoder layers that a window of new tokens asks for."""
        return {"window": shape.window, "decodes": shape.pass_id == "decode"}


MODEL: Final = UnlimitedOCR()
