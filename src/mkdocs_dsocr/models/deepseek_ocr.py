"""DeepSeek-OCR: which passes it runs, and what each calls."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.layers.builtin import LMHead
from mkdocs_dsocr.layers.core import (
    DeepseekOCRForCausalLM,
    LanguagePart,
    ProjectorPart,
    VisionPart,
)
from mkdocs_dsocr.layers.decoder import DenseDecoderLayer, MoEDecoderLayer
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.vision import ImageEncoderViT, VitModel
from mkdocs_dsocr.models import deepseek_config, sizes
from mkdocs_dsocr.models.batch import Batch, BatchPass, Sizes
from mkdocs_dsocr.models.door import Choices, Load, Model
from mkdocs_dsocr.models.sizes import towers_choices
from mkdocs_dsocr.models.tokens import features_a_side
from mkdocs_dsocr.quantities import less
from mkdocs_dsocr.trace import PassShape

_EXPERT: Final = re.compile(r"\.experts\.\d+$")


class DeepSeekOCR(Model):
    """The public model, by our own modules with the checkpoint's shapes and names."""

    architecture = deepseek_config.ARCHITECTURE
    title = "DeepSeek-OCR"
    vision = "The vision backbone is SAM ViT-B followed by CLIP ViT-L."
    traced = (
        "a model of our own in PyTorch with the public checkpoint's module paths, parameter names "
        "and shapes; the project's tests compare it with an independent implementation and with "
        "counts made on the vendor's code"
    )
    session = "mkdocs_dsocr.tracing.deepseek_ocr:DeepSeekOCRSession"
    has_autocast = True
    runs_remote_code = True

    def parse(self, path: Path, content: Mapping[str, Any]) -> ModelConfig:
        return deepseek_config.parse(path, content)

    def passes(self, config: ModelConfig, batch: Batch) -> Iterable[BatchPass]:
        return (*batch.views("vision"), *batch.views("projector"), *batch.language())

    def choices(self, config: ModelConfig, pass_id: str, sizes: Sizes) -> Choices:
        if pass_id.startswith("vision"):
            return towers_choices(config, sizes)
        if pass_id.startswith("projector"):
            features = features_a_side(sizes["image_size"])
            return {"tiled": less(1, sizes["tiles_w"]) * less(1, features)}
        return {
            "has_images": less(0, sizes["image_tokens"]),
            # A decode step always extends a prompt.
            "cached": 1 if pass_id == "decode" else less(sizes["q_len"], sizes["kv_len"]),
        }

    def modules(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        if shape.part == "vision":
            yield Child("model", _vision(config, shape, chosen))
        elif shape.part == "projector":
            yield _projector(config, shape, chosen)
        else:
            yield from _decoder(config, shape, load, chosen)

    def whole(self, items: tuple[Child, ...]) -> BaseLayer:
        return DeepseekOCRForCausalLM(items=items)

    def traced_load(self, config: ModelConfig, matmul_flops: Mapping[str, int]) -> Load:
        """Return how many experts ran, the mean over the layers, and the busiest one's tokens."""
        language = config.language
        layers = language.num_hidden_layers - language.first_k_dense_replace
        loads = [
            # gate_proj, up_proj and down_proj: 2 · rows · h · m each.
            flops // (6 * language.hidden_size * language.moe_intermediate_size)
            for path, flops in matmul_flops.items()
            if _EXPERT.search(path)
        ]
        return Load(Fraction(len(loads), max(1, layers)), max(loads, default=0))


def _decoder(config: ModelConfig, shape: PassShape, load: Load, chosen: Choices) -> Iterator[Child]:
    language = config.language
    rows, width = shape.batch * shape.logits, language.hidden_size
    part = _language(config, shape, load, chosen)
    head = LMHead(rows=rows, d_in=width, d_out=language.vocab_size)
    hidden = Tensor("hidden states", shape.batch * shape.q_len * width)
    asked_for = Tensor("those that get logits", rows * width, view_of=hidden.name)
    yield Child("model", part, reads=tuple(part.boundary()), writes=(hidden,))
    yield Child("lm_head", head, reads=(asked_for,), writes=tuple(head.boundary()))


def _vision(config: ModelConfig, shape: PassShape, chosen: Choices) -> VisionPart:
    return VisionPart(
        hidden_size=config.language.hidden_size,
        sam=ImageEncoderViT(**sizes.sam(config, shape, chosen)),
        clip=VitModel(
            in_channels=constants.IMAGE_CHANNELS,
            patch=config.tower(ClipConfig).patch_size,
            **sizes.clip(config, shape, chosen),
        ),
    )


def _projector(config: ModelConfig, shape: PassShape, chosen: Choices) -> Child:
    part = ProjectorPart(
        hidden_size=config.language.hidden_size,
        pages=shape.pages,
        tiles_w=shape.tiles_w,
        tiles_h=shape.tiles_h,
        side=features_a_side(shape.image_size),
        clip_width=config.tower(ClipConfig).width,
        sam_width=config.sam.downsample_channels[1],
        tiled=chosen["tiled"],
    )
    clip, sam, tokens = part.boundary()
    if shape.autocast:
        # CLIP's residual stream is float32 from its first norm on.
        clip = dataclasses.replace(clip, dtype="float32")
    return Child("model", part, reads=(clip, sam), writes=(tokens,))


def _language(config: ModelConfig, shape: PassShape, load: Load, chosen: Choices) -> LanguagePart:
    language = config.language
    common: dict[str, Any] = {
        "batch": shape.batch,
        "q_len": shape.q_len,
        "kv_len": shape.kv_len,
        "hidden_size": language.hidden_size,
        "heads": language.num_attention_heads,
        "kv_heads": language.num_key_value_heads,
        "head_dim": language.head_dim,
        "cached": chosen["cached"],
        "grouped": language.num_key_value_heads < language.num_attention_heads,
    }
    dense = DenseDecoderLayer(intermediate_size=language.intermediate_size, **common)
    sparse = MoEDecoderLayer(
        largest_load=load.largest,
        expert_count=language.n_routed_experts,
        **sizes.experts(config, load),
        **common,
    )
    return LanguagePart(
        hidden_size=language.hidden_size,
        batch=shape.batch,
        q_len=shape.q_len,
        kv_len=shape.kv_len,
        image_tokens=shape.image_tokens,
        vocab_size=language.vocab_size,
        decoder_layers=sizes.decoder_layers(config, dense, sparse),
        has_images=chosen["has_images"],
    )


MODEL: Final = DeepSeekOCR()
