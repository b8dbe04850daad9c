"""GOT-OCR-2.0: SAM, a projector of convolutions, and a dense decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.fields import Limit
from mkdocs_dsocr.layers.decoder.stack import Stack
from mkdocs_dsocr.layers.got import (
    GotOcr2FeaturesPart,
    GotOcr2ForConditionalGeneration,
    GotOcr2LanguagePart,
    GotOcr2MultiModalProjector,
    GotOcr2VisionEncoder,
    GotOcr2VisionPart,
    Qwen2DecoderLayer,
    Qwen2Model,
    TiedLMHead,
)
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.models import got_config, sizes, tokens
from mkdocs_dsocr.models.batch import Batch, BatchPass, Sizes
from mkdocs_dsocr.models.door import Choices, Load, Model
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import less, select
from mkdocs_dsocr.trace import PassShape


class GotOCR2(Model):
    """stepfun-ai/GOT-OCR-2.0-hf as transformers ships it."""

    architecture = got_config.ARCHITECTURE
    title = "GOT-OCR-2.0"
    vision = "The vision backbone is SAM ViT-B; a projector of two convolutions and a linear."
    traced = "the implementation that transformers ships, built without weights and run as it is"
    max_tiles = constants.GOT_MAX_TILES
    min_tiles = constants.GOT_MIN_TILES
    tile_size = constants.GOT_TILE_SIZE
    cuts_small_pages = True
    layout = tokens.SQUARES
    tower = None
    session = "mkdocs_dsocr.tracing.got_ocr2:GotOcr2Session"
    packages = ("transformers",)
    reads_many_pages = True

    def parse(self, path: Path, content: Mapping[str, Any]) -> ModelConfig:
        return got_config.parse(path, content)

    def sides(self, config: ModelConfig) -> Limit:
        """Return that of SAM's table of positions, which is added as it is."""
        return Limit(config.trained_image_size, config.trained_image_size)

    def passes(self, config: ModelConfig, batch: Batch) -> Iterable[BatchPass]:
        """List the passes; a page's local views and the whole page are of one side, and one batch.

        See the base class.
        """
        local = select(batch.has_tiles, batch.tiles_w * batch.tiles_h, 0)
        views = {
            "image_size": batch.global_view,
            "tiles_w": 1 + local,
            "tiles_h": 1,
            "pages": select(batch.is_batched, batch.pages, 1),
        }
        for part in ("vision", "projector"):
            yield BatchPass(
                part,
                f"{part}.page",
                part,
                views,
                calls=batch.has_image * batch.encodings,
                follows_batch=batch.is_batched,
            )
        yield from batch.language()

    def choices(self, config: ModelConfig, pass_id: str, sizes_: Sizes) -> Choices:
        if pass_id.startswith("vision"):
            return sizes.sam_choices(config, sizes_)
        if pass_id.startswith("projector"):
            return {}
        return {"has_images": less(0, sizes_["image_tokens"])}

    def modules(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        if shape.part == "language":
            yield from self._language(config, shape, chosen)
            return
        part = (
            _vision(config, shape, chosen) if shape.part == "vision" else _features(config, shape)
        )
        given, made = part.boundary()
        yield Child("model", part, reads=(given,), writes=(made,))

    def whole(self, items: tuple[Child, ...]) -> BaseLayer:
        return GotOcr2ForConditionalGeneration(items=items)

    def traced_load(self, config: ModelConfig, matmul_flops: Mapping[str, int]) -> Load:
        """Return none: there are no experts."""
        return Load(0, 0)

    def _language(self, config: ModelConfig, shape: PassShape, chosen: Choices) -> Iterator[Child]:
        language = config.language
        rows, width = shape.batch * shape.logits, language.hidden_size
        part = GotOcr2LanguagePart(
            hidden_size=width,
            batch=shape.batch,
            q_len=shape.q_len,
            image_tokens=shape.image_tokens,
            vocab_size=language.vocab_size,
            decoder=_decoder(config, shape),
            has_images=chosen["has_images"],
        )
        head = TiedLMHead(rows=rows, d_in=width, d_out=language.vocab_size)
        hidden = Tensor("hidden states", shape.batch * shape.q_len * width)
        asked_for = Tensor("those that get logits", rows * width, view_of=hidden.name)
        logits = Tensor("logits", rows * language.vocab_size)
        yield Child("model", part, reads=tuple(part.boundary()), writes=(hidden,))
        yield Child("lm_head", head, reads=(asked_for,), writes=(logits,))


def _vision(config: ModelConfig, shape: PassShape, chosen: Choices) -> BaseLayer:
    """Return the part that encodes views."""
    fields = sizes.sam(config, shape, chosen)
    for name in ("mid_channels", "out_channels"):  # the projector's
        del fields[name]
    tower = GotOcr2VisionEncoder(**fields)
    return GotOcr2VisionPart(hidden_size=config.language.hidden_size, tower=tower)


def _features(config: ModelConfig, shape: PassShape) -> BaseLayer:
    """Return the part that makes tokens of SAM's maps."""
    mid, hidden_size = config.sam.downsample_channels
    projector = GotOcr2MultiModalProjector(
        views=shape.views,
        grid=tokens.patches_a_side(shape.image_size),
        channels=constants.SAM_NECK,
        mid_channels=mid,
        hidden_size=hidden_size,
    )
    return GotOcr2FeaturesPart(hidden_size=hidden_size, projector=projector)


def _decoder(config: ModelConfig, shape: PassShape) -> Stack:
    """Return the decoder."""
    language = config.language
    common: dict[str, Any] = {
        "batch": shape.batch,
        "q_len": shape.q_len,
        "kv_len": shape.kv_len,
        "hidden_size": language.hidden_size,
        "head_dim": language.head_dim,
    }
    layer = Qwen2DecoderLayer(
        intermediate_size=language.intermediate_size, heads=language.num_attention_heads, **common
    )
    depth = range(language.num_hidden_layers)
    layers = (Child(indices(depth), layer, len(depth), "for"),)
    decoder: Stack = Qwen2Model(decoder_layers=layers, **common)
    return decoder


MODEL: Final = GotOCR2()
