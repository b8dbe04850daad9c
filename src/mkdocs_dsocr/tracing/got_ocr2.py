"""GOT-OCR-2.0's modules as transformers ships them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from torch import Tensor

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import EXPERTS
from mkdocs_dsocr.models.tokens import patches_a_side
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.unlimited_ocr import TOWER, UnlimitedOcrSession

PROJECTOR: Final = "model.multi_modal_projector"


class GotOcr2Session(UnlimitedOcrSession):
    """transformers' own implementation, built without weights; see the base class."""

    roots = (TOWER, PROJECTOR)
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "sam": (TOWER,),
        "projector": (PROJECTOR,),
        "prefill": ("model.language_model",),
    }
    model_class = "GotOcr2ForConditionalGeneration"
    cached = ("keys", "values")
    attention = None

    def _as_transformers_has_it(self, transformers: Any, config: ModelConfig) -> Any:
        language, sam = config.language, config.sam
        experts = {*EXPERTS, "first_k_dense_replace"}
        return transformers.GotOcr2Config(
            image_token_index=language.vocab_size - 1,  # whichever: the weights are random
            text_config={
                "model_type": "qwen2",
                "tie_word_embeddings": True,
                **language.model_dump(exclude=experts, exclude_none=True),
            },
            vision_config={
                "hidden_size": sam.width,
                "num_hidden_layers": sam.layers,
                "num_attention_heads": sam.heads,
                "global_attn_indexes": list(sam.global_attn_indexes),
                "output_channels": constants.SAM_NECK,
                "window_size": constants.SAM_WINDOW,
                "mlp_dim": constants.SAM_MLP_RATIO * sam.width,
                "image_size": config.trained_image_size,
            },
        )

    def _projector(self, shape: PassShape) -> Callable[[], int]:
        side = patches_a_side(shape.image_size)
        features = self.values(shape.views, constants.SAM_NECK, side, side)

        def run() -> int:
            self.model.model.multi_modal_projector(features)
            return 0

        return run

    def _given(self, pages: Tensor) -> Any:
        return pages[None]

    def _past(self, shape: PassShape) -> list[tuple[Tensor, ...]]:
        return self._keys_and_values(shape.batch, (shape.kv_len - shape.q_len,))

    def _pixels(
        self, pages: int, size: int, grid: tuple[int, int], tile_size: int
    ) -> dict[str, Any]:
        """Return the pixels of all views of pages: local ones, then the whole page."""
        local = math.prod(grid) if tile_size else 0
        return {"pixel_values": self.views(pages * (local + 1), size)}
