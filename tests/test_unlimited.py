"""Unlimited-OCR's layers against transformers' own modules, each by itself on ``meta``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, UnlimitedOcrTextConfig, UnlimitedOcrVisionConfig
from transformers.models.unlimited_ocr import modeling_unlimited_ocr as ocr

from mkdocs_dsocr.layers import memory, metrics, tree
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.unlimited import (
    DenseTextLayer,
    SparseTextLayer,
    UnlimitedFeaturesPart,
    UnlimitedOcrSamVisionEncoder,
    UnlimitedOcrTextAttention,
    UnlimitedOcrTextMLP,
    UnlimitedOcrTextModel,
    UnlimitedOcrTextMoe,
    UnlimitedOcrTextRMSNorm,
    UnlimitedOcrTextRotaryEmbedding,
    UnlimitedOcrVisionEncoder,
    UnlimitedOcrVisionModel,
)
from mkdocs_dsocr.tracing.counter import OperatorCounter
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.operators import FURTHER_PRODUCTS
from mkdocs_dsocr.tracing.session import default_dtype

WINDOW = 5
CONFIG = UnlimitedOcrTextConfig(
    hidden_size=64,
    intermediate_size=48,
    moe_intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    n_routed_experts=8,
    num_experts_per_tok=2,
    vocab_size=100,
    sliding_window=WINDOW,
)
CONFIG._attn_implementation = "sdpa"
CONFIG._experts_implementation = "grouped_mm"


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with default_dtype(torch.bfloat16), torch.device("meta"), torch.no_grad():
        return make().eval()


def values(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, device="meta")


def counted(module: nn.Module, *args: Any, **kwargs: Any) -> dict[str, int]:
    """Return what PyTorch does when a module is called."""
    flops = FlopCounterMode(display=False, custom_mapping=FURTHER_PRODUCTS)
    operators = OperatorCounter(Modules(module))
    with torch.inference_mode(), flops, operators.watching():
        module(*args, **kwargs)
    assert operators.unknown == set()
    return {
        "matmul_flops": flops.get_total_flops(),
        "elementwise_flops": operators.elementwise_flops[""],
        "eager_bytes": operators.eager_bytes[""],
        "dispatches": operators.dispatches[""],
        "peak_bytes": operators.memory.peaks[""].bytes,
        "parameters": sum(p.numel() for p in module.parameters()),
    }


def by_formula(layer: BaseLayer) -> dict[str, int]:
    """Return the same by the layer's formulas."""
    products = tree.summed(layer, metrics.matmul_flops)
    work = tree.summed(layer, metrics.tensor_core_flops) + tree.summed(
        layer, metrics.cuda_core_flops
    )
    found = {
        "matmul_flops": products,
        "elementwise_flops": work - products,
        "eager_bytes": tree.summed(layer, metrics.eager_bytes),
        "dispatches": tree.dispatched(layer),
        "peak_bytes": memory.peak(layer).bytes,
        "parameters": tree.resident(layer, metrics.num_parameters),
    }
    assert all(isinstance(value, int) for value in found.values())
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(("batch", "tokens"), [(1, 7), (3, 1), (2, 12)])
def test_norm_and_mlp(batch: int, tokens: int) -> None:
    x = values(batch, tokens, 64)
    norm = built(lambda: ocr.UnlimitedOcrTextRMSNorm(64))
    assert by_formula(UnlimitedOcrTextRMSNorm(rows=batch * tokens, width=64)) == counted(norm, x)
    mlp = built(lambda: ocr.UnlimitedOcrTextMLP(CONFIG))
    layer = UnlimitedOcrTextMLP(rows=batch * tokens, hidden_size=64, intermediate_size=48)
    assert by_formula(layer) == counted(mlp, x)


@pytest.mark.parametrize("tokens", [1, 9])
def test_angles(tokens: int) -> None:
    rotary = built(lambda: ocr.UnlimitedOcrTextRotaryEmbedding(CONFIG))
    positions = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    found = counted(rotary, values(1, tokens, 64), positions)
    assert by_formula(UnlimitedOcrTextRotaryEmbedding(q_len=tokens, head_dim=16)) == found


@pytest.mark.parametrize(("batch", "tokens"), [(1, 7), (3, 1), (2, 12)])
def test_experts(batch: int, tokens: int) -> None:
    moe = built(lambda: ocr.UnlimitedOcrTextMoe(CONFIG))
    layer = UnlimitedOcrTextMoe(
        rows=batch * tokens,
        hidden_size=64,
        moe_intermediate_size=16,
        experts=8,
        top_k=2,
        shared_experts=2,
        distinct_experts=8,  # the operator is handed the weights of all
    )
    assert by_formula(layer) == counted(moe, values(batch, tokens, 64))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("step", [0, 1, 2, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 9])
def test_attention(batch: int, step: int) -> None:
    """A prefill (step 0), a window that fills, and one that slides."""
    prompt = 11
    attention = built(lambda: ocr.UnlimitedOcrTextAttention(CONFIG, 0))
    cache = DynamicCache(config=CONFIG)
    # What a cache does once, for its first tokens, is no work of a pass.
    empty = values(batch, 4, 0, 16)
    cache.layers[0].lazy_initialization(empty, empty)  # type: ignore[union-attr]

    def call(tokens: int, kv_len: int) -> tuple[Any, ...]:
        angles = (values(1, tokens, 16), values(1, tokens, 16))
        mask = torch.ones(1, 1, tokens, kv_len, dtype=torch.bool, device="meta")
        return values(batch, tokens, 64), angles, mask.expand(batch, -1, -1, -1), cache

    for before in range(step):
        tokens = 1 if before else prompt
        with torch.inference_mode():
            attention(*call(tokens, prompt + min(before, WINDOW)))
    window, tokens = min(step, WINDOW), 1 if step else prompt
    found = counted(attention, *call(tokens, prompt + window))
    layer = UnlimitedOcrTextAttention(
        batch=batch,
        q_len=tokens,
        kv_len=prompt + window,
        window=window,
        hidden_size=64,
        heads=4,
        head_dim=16,
        decodes=step > 0,
    )
    # A session tells the cache's tensors from activations, which this test does not.
    assert by_formula(layer) | {"peak_bytes": 0} == found | {"peak_bytes": 0}


VISION = UnlimitedOcrVisionConfig(
    sam_config={
        "hidden_size": 24,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "global_attn_indexes": [1],
        "output_channels": 16,
        "mlp_dim": 40,
        "downsample_channels": [16, 32],
        "image_size": 320,
    },
    encoder_config={
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 70,
    },
)
"""SAM is trained for 20 patches per side, CLIP for 5 features per side."""


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("size", [192, 224, 320, 448, 640])
def test_vision(views: int, size: int) -> None:
    """Both towers, smaller than a window, of the trained size, and larger."""
    with default_dtype(torch.bfloat16), torch.device("meta"), torch.no_grad():
        make: Any = ocr.UnlimitedOcrVisionModel
        model = make._from_config(VISION, attn_implementation="sdpa").eval()
    grid, side = size // 16, -(-size // 64)
    sam = UnlimitedOcrSamVisionEncoder(
        views=views,
        grid=grid,
        in_channels=3,
        patch=16,
        heads=3,
        head_dim=8,
        mlp_hidden=40,
        window=14,
        table_side=20,
        neck_channels=16,
        mid_channels=16,
        out_channels=32,
        depth=2,
        global_blocks=(1,),
        padded=grid % 14 != 0,
        partitioned=grid > 14,
        resize=grid != 20,
        single_view=views == 1,
    )
    clip = UnlimitedOcrVisionEncoder(
        views=views,
        side=side,
        heads=4,
        head_dim=8,
        mlp_hidden=48,
        table_side=5,
        depth=2,
        resize=side != 5,
    )
    found = counted(model, values(views, 3, size, size))
    assert by_formula(UnlimitedOcrVisionModel(sam=sam, clip=clip)) == found


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("step", [0, 1, WINDOW - 1, WINDOW, WINDOW + 9])
def test_decoder(batch: int, step: int) -> None:
    """The whole decoder, a dense layer and one with experts: a prefill, and steps after it."""
    prompt = 40
    model = built(lambda: ocr.UnlimitedOcrTextModel(CONFIG))
    cache = DynamicCache(config=CONFIG)
    empty = values(batch, 4, 0, 16)
    for cached in cache.layers:
        cached.lazy_initialization(empty, empty)  # type: ignore[union-attr]

    def call(tokens: int) -> dict[str, Any]:
        x = values(batch, tokens, 64)
        return {"inputs_embeds": x, "past_key_values": cache, "use_cache": True}

    for before in range(step):
        with torch.inference_mode():
            model(**call(1 if before else prompt))
    window, tokens = min(step, WINDOW), 1 if step else prompt
    found = counted(model, **call(tokens))
    common: dict[str, Any] = {
        "batch": batch,
        "q_len": tokens,
        "kv_len": prompt + window,
        "window": window,
        "hidden_size": 64,
        "heads": 4,
        "head_dim": 16,
        "decodes": step > 0,
    }
    sparse = SparseTextLayer(
        moe_intermediate_size=16,
        experts=8,
        top_k=2,
        shared_experts=2,
        distinct_experts=8,
        **common,
    )
    layer = UnlimitedOcrTextModel(
        batch=batch,
        q_len=tokens,
        kv_len=prompt + window,
        hidden_size=64,
        head_dim=16,
        decoder_layers=(
            Child("0", DenseTextLayer(intermediate_size=48, **common)),
            Child("1", sparse),
        ),
    )
    # The embedding of tokens belongs to the model that calls the decoder.
    found["parameters"] -= 100 * 64
    assert by_formula(layer) | {"peak_bytes": 0} == found | {"peak_bytes": 0}


def test_the_projector_is_a_child_for_each_kind_of_view() -> None:
    """Their sum is the product over all features, as the one node of the report has it."""
    features = UnlimitedFeaturesPart(
        hidden_size=64, side=16, tile_side=10, tiles_w=2, tiles_h=3, width=48, has_tiles=True
    )
    calls = [c.layer for c in features.children()]
    assert [c.name for c in features.children()] == ["multi_modal_projector"] * 2
    assert [call.values()["N"] for call in calls] == [16**2, 6 * 10**2]
    flops = [tree.summed(call, metrics.matmul_flops) for call in calls]
    rows = 16**2 + 6 * 10**2
    assert flops[0] + flops[1] == tree.summed(features, metrics.matmul_flops) == 2 * rows * 48 * 64
    assert tree.resident(features, metrics.num_parameters) == 48 * 64 + 64 + 2 * 64
