"""DeepSeek-OCR-2's modules as transformers ships them, as their difference from Unlimited-OCR's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.model_config import EncoderConfig
from mkdocs_dsocr.models.tokens import queries
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.unlimited_ocr import TOWER, UnlimitedOcrSession, sections


class DeepSeekOcr2Session(UnlimitedOcrSession):
    """transformers' own implementation, built without weights; see the base class."""

    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sam": (f"{TOWER}.sam_encoder",),
        "encoder": (f"{TOWER}.vision_encoder",),
        "projector": ("model.multi_modal_projector",),
        "prefill": ("model.language_model",),
    }
    model_class = "DeepseekOcr2ForConditionalGeneration"
    cached = ("keys", "values")

    def _as_transformers_has_it(self, transformers: Any, config: ModelConfig) -> Any:
        tower = config.tower(EncoderConfig)
        encoder = {
            "hidden_size": tower.width,
            "intermediate_size": tower.mlp_width,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
            "num_key_value_heads": tower.kv_heads,
            "vocab_size": 1,  # it embeds no tokens
        }
        return transformers.DeepseekOcr2Config(**sections(config, encoder))

    def _features(self, views: int, size: int) -> Tensor:
        return self.values(views, queries(size), self.config.tower(EncoderConfig).width)

    def _past(self, shape: PassShape) -> list[tuple[Tensor, ...]]:
        return self._keys_and_values(shape.batch, (shape.kv_len - shape.q_len,))

    def _pixels(
        self, pages: int, size: int, grid: tuple[int, int], tile_size: int
    ) -> dict[str, Any]:
        pixels = super()._pixels(pages, size, grid, tile_size)
        # Views are not laid out: their grid is not asked for.
        pixels.pop("patches_grid", None)
        return pixels
