"""Dimensions → the fields of the layers that both models have: towers, decoder layers."""

from __future__ import annotations

from typing import Any

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.inputs.model_config import ClipConfig
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.models.batch import Sizes
from mkdocs_dsocr.models.door import Choices, Load
from mkdocs_dsocr.models.tokens import features_a_side, patches_a_side
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import ceil_div, equal, less
from mkdocs_dsocr.trace import PassShape


def sam(config: ModelConfig, shape: PassShape, chosen: Choices) -> dict[str, Any]:
    """Return the fields of the SAM tower on the views of a pass."""
    tower = config.sam
    return {
        "views": shape.views,
        "grid": patches_a_side(shape.image_size),
        "in_channels": constants.IMAGE_CHANNELS,
        "patch": constants.SAM_PATCH,
        "heads": tower.heads,
        "head_dim": tower.width // tower.heads,
        "mlp_hidden": constants.SAM_MLP_RATIO * tower.width,
        "window": constants.SAM_WINDOW,
        "table_side": config.sam_table_side,
        "neck_channels": constants.SAM_NECK,
        "mid_channels": tower.downsample_channels[0],
        "out_channels": tower.downsample_channels[1],
        "depth": tower.layers,
        "global_blocks": tower.global_attn_indexes,
        **{name: chosen[name] for name in ("padded", "partitioned", "resize", "single_view")},
    }


def clip(config: ModelConfig, shape: PassShape, chosen: Choices) -> dict[str, Any]:
    """Return the fields of the CLIP tower on the views of a pass."""
    tower = config.tower(ClipConfig)
    return {
        "views": shape.views,
        "side": features_a_side(shape.image_size),
        "heads": tower.heads,
        "head_dim": tower.width // tower.heads,
        "mlp_hidden": constants.CLIP_MLP_RATIO * tower.width,
        "table_side": tower.table_side,
        "depth": tower.layers,
        "resize": chosen["clip_resize"],
    }


def towers_choices(config: ModelConfig, sizes: Sizes) -> dict[str, Any]:
    """Return the conditions that :func:`sam` and :func:`clip` choose by."""
    side, table = features_a_side(sizes["image_size"]), config.tower(ClipConfig).table_side
    return {**sam_choices(config, sizes), "clip_resize": 1 - equal(side, table)}


def sam_choices(config: ModelConfig, sizes: Sizes) -> dict[str, Any]:
    """Return the conditions that :func:`sam` chooses by."""
    grid = patches_a_side(sizes["image_size"])
    window = constants.SAM_WINDOW
    return {
        "padded": 1 - equal(ceil_div(grid, window) * window, grid),
        "partitioned": less(window, grid),
        "resize": 1 - equal(grid, config.sam_table_side),
        "single_view": equal(sizes["pages"] * sizes["tiles_w"] * sizes["tiles_h"], 1),
    }


def experts(config: ModelConfig, load: Load) -> dict[str, Any]:
    """Return the fields of a mixture of experts."""
    language = config.language
    return {
        "moe_intermediate_size": language.moe_intermediate_size,
        "experts": language.n_routed_experts,
        "top_k": language.num_experts_per_tok,
        "shared_experts": language.n_shared_experts,
        "distinct_experts": load.distinct,
    }


def decoder_layers(config: ModelConfig, dense: BaseLayer, sparse: BaseLayer) -> tuple[Child, ...]:
    """Return a decoder's layers: dense ones first, then those with experts."""
    first, depth = config.language.first_k_dense_replace, config.language.num_hidden_layers
    kinds = ((range(first), dense), (range(first, depth), sparse))
    return tuple(Child(indices(r), kind, len(r), "for") for r, kind in kinds if r)
