"""DeepSeek-OCR as a tree of analytic layers: what each pass calls, on what sizes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from mkdocs_dsocr.inputs import ModelConfig, Workload, constants
from mkdocs_dsocr.layers.base import BaseLayer, Group
from mkdocs_dsocr.layers.builtin import LMHead
from mkdocs_dsocr.layers.core import (
    DeepseekOCRForCausalLM,
    LanguagePart,
    ProjectorPart,
    VisionPart,
)
from mkdocs_dsocr.layers.decoder import DenseDecoderLayer, MoEDecoderLayer, expected_distinct
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.layers.parts import Child
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.layers.vision import ImageEncoderViT, VitModel
from mkdocs_dsocr.models.plan import Plan, Run
from mkdocs_dsocr.models.tokens import features_a_side, patches_a_side
from mkdocs_dsocr.patterns import indices
from mkdocs_dsocr.quantities import Quantity, ceil_div
from mkdocs_dsocr.trace import PassShape

_EXPERT = re.compile(r"\.experts\.\d+$")
STAGES = ("vision", "projector", "prefill", "decode")


class Load(NamedTuple):
    """How the tokens of a pass spread over the experts of a layer."""

    distinct: Quantity
    """Experts that get any token."""
    largest: Quantity
    """Tokens of the one that gets most."""


Routing = Mapping[PassShape, Load]
"""The load of the experts in a pass of some shape."""


def build(
    config: ModelConfig, plan: Plan, routing: Routing | None = None
) -> DeepseekOCRForCausalLM:
    """Return the whole model on a workload: stages, passes, modules.

    Parameters
    ----------
    config, plan
        The model's dimensions, and the runs of the workload.
    routing
        The routing of a trace; where not given, its expectation.
    """
    items: list[Child] = []
    for stage in STAGES:
        passes = [_pass(config, plan, r, routing or {}) for r in plan.runs if r.stage == stage]
        if stage in ("vision", "projector"):
            items.append(Child(stage, Group(items=tuple(passes))))
        else:
            items += passes or [Child(stage, Group(items=()))]
    return DeepseekOCRForCausalLM(items=tuple(items))


def _pass(config: ModelConfig, plan: Plan, run: Run, routing: Routing) -> Child:
    def group(shape: PassShape) -> Group:
        return pass_layer(config, shape, plan.workload, routing.get(shape))

    last = group(run.last) if run.steps > 1 else None
    return Child(run.first.pass_id, group(run.first), calls=run.calls, last=last, steps=run.steps)


def pass_layer(
    config: ModelConfig,
    shape: PassShape,
    workload: Workload | None = None,
    load: Load | None = None,
) -> Group:
    """Return one run of a pass: the modules that it calls.

    Parameters
    ----------
    config, shape
        The model's dimensions, and what the pass is fed.
    workload
        Whose formats and whose load of the experts it has; where not given, the
        checkpoint's formats and an even load.
    load
        The load of the experts; where not given, :func:`expected_load`.
    """
    # Tables of one build ask for the same passes; arrays of sizes have no hash.
    is_one_size = isinstance(shape.batch, int) and isinstance(shape.pages, int)
    make = _shared_pass if is_one_size else _workload_pass
    return make(config, shape, workload, load)


def _workload_pass(
    config: ModelConfig, shape: PassShape, workload: Workload | None, load: Load | None
) -> Group:
    load = load or expected_load(config, shape, workload)
    return built_pass(config, shape, load, _precision(shape, workload))


_shared_pass = lru_cache(maxsize=64)(_workload_pass)


def built_pass(
    config: ModelConfig,
    shape: PassShape,
    load: Load,
    precision: Precision | None = None,
    like: PassShape | None = None,
) -> Group:
    """Return one run of a pass, whatever its sizes are: integers, arrays or symbols.

    Parameters
    ----------
    config, shape, load, precision
        As for :func:`pass_layer`.
    like
        A shape of integers that makes the choices (padded windows, a resized table), where
        `shape` has none.
    """
    chosen = like or shape
    if shape.part == "vision":
        items = [Child("model", _vision(config, shape, chosen))]
    elif shape.part == "projector":
        items = [_projector(config, shape, chosen)]
    else:
        items = _decoder(config, shape, load, chosen)
    return Group(items=tuple(items), precision=precision)


def _precision(shape: PassShape, workload: Workload | None) -> Precision | None:
    """Return the formats of a run; None for those of the checkpoint."""
    formats = Precision() if workload is None else _formats(workload)
    precision = dataclasses.replace(formats, autocast=shape.autocast)
    return None if precision == Precision() else precision


def _formats(workload: Workload) -> Precision:
    return Precision(
        weight=FORMATS[workload.weight_dtype],
        activation=FORMATS[workload.activation_dtype],
        kv_cache=FORMATS[workload.kv_dtype],
        eager=workload.traffic == "eager",
    )


def rates(workload: Workload) -> set[str]:
    """Return the formats at whose peak tensor cores work."""
    return _formats(workload).rates


def _decoder(config: ModelConfig, shape: PassShape, load: Load, chosen: PassShape) -> list[Child]:
    language = config.language
    rows, width = shape.batch * shape.logits, language.hidden_size
    part = _language(config, shape, load, chosen)
    head = LMHead(rows=rows, d_in=width, d_out=language.vocab_size)
    hidden = Tensor("hidden states", shape.batch * shape.q_len * width)
    asked_for = Tensor("those that get logits", rows * width, view_of=hidden.name)
    return [
        Child("model", part, reads=tuple(part.boundary()), writes=(hidden,)),
        Child("lm_head", head, reads=(asked_for,), writes=tuple(head.boundary())),
    ]


def expected_load(config: ModelConfig, shape: PassShape, workload: Workload | None = None) -> Load:
    """Return how many experts a pass is expected to touch, and the tokens of the busiest.

    The load is even unless the workload says how skewed it is.
    """
    language = config.language
    experts, top_k = language.n_routed_experts, language.num_experts_per_tok
    tokens = shape.batch * shape.q_len
    if workload is None or workload.expert_load is None:
        return Load(expected_distinct(experts, top_k, tokens), ceil_div(tokens * top_k, experts))
    shares = expert_shares(workload.expert_load, top_k)
    # Of a billion tokens, so that the count stays an integer.
    largest = ceil_div(tokens * round(max(shares) * 10**9), 10**9)
    return Load(sum(1 - (1 - share) ** tokens for share in shares), largest)


def expert_shares(load: Sequence[float], top_k: int) -> list[float]:
    """Return the share of tokens that choose each expert: `load`, scaled to `top_k` in all."""
    whole = sum(load)
    return [top_k * amount / whole for amount in load]


def traced_load(config: ModelConfig, matmul_flops: Mapping[str, int]) -> Load:
    """Return the load of the experts in a trace: how many ran, the mean over the layers.

    Parameters
    ----------
    config
        The model's dimensions.
    matmul_flops
        What was counted, by path of the modules that were called.
    """
    language = config.language
    layers = language.num_hidden_layers - language.first_k_dense_replace
    loads = [
        # gate_proj, up_proj and down_proj: 2 · rows · h · m each.
        flops // (6 * language.hidden_size * language.moe_intermediate_size)
        for path, flops in matmul_flops.items()
        if _EXPERT.search(path)
    ]
    return Load(Fraction(len(loads), max(1, layers)), max(loads, default=0))


def _vision(config: ModelConfig, shape: PassShape, chosen: PassShape) -> VisionPart:
    sam, clip = config.sam, config.clip
    grid_chosen = patches_a_side(chosen.image_size)
    side_chosen = features_a_side(chosen.image_size)
    views = shape.views
    grid, side = patches_a_side(shape.image_size), features_a_side(shape.image_size)
    return VisionPart(
        hidden_size=config.language.hidden_size,
        sam=ImageEncoderViT(
            views=views,
            grid=grid,
            in_channels=constants.IMAGE_CHANNELS,
            patch=constants.SAM_PATCH,
            heads=sam.heads,
            head_dim=sam.width // sam.heads,
            mlp_hidden=constants.SAM_MLP_RATIO * sam.width,
            window=constants.SAM_WINDOW,
            table_side=config.sam_table_side,
            neck_channels=constants.SAM_NECK,
            mid_channels=sam.downsample_channels[0],
            out_channels=sam.downsample_channels[1],
            depth=sam.layers,
            global_blocks=sam.global_attn_indexes,
            padded=grid_chosen % constants.SAM_WINDOW != 0,
            partitioned=grid_chosen > constants.SAM_WINDOW,
            resize=grid_chosen != config.sam_table_side,
            single_view=isinstance(chosen.views, int) and chosen.views == 1,
        ),
        clip=VitModel(
            views=views,
            side=side,
            heads=clip.heads,
            head_dim=clip.width // clip.heads,
            mlp_hidden=constants.CLIP_MLP_RATIO * clip.width,
            table_side=clip.table_side,
            in_channels=constants.IMAGE_CHANNELS,
            patch=clip.patch_size,
            depth=clip.layers,
            resize=side_chosen != clip.table_side,
        ),
    )


def _projector(config: ModelConfig, shape: PassShape, chosen: PassShape) -> Child:
    features = features_a_side(chosen.image_size)
    part = ProjectorPart(
        hidden_size=config.language.hidden_size,
        pages=shape.pages,
        tiles_w=shape.tiles_w,
        tiles_h=shape.tiles_h,
        side=features_a_side(shape.image_size),
        clip_width=config.clip.width,
        sam_width=config.sam.downsample_channels[1],
        tiled=chosen.tiles_w > 1 and features > 1,
    )
    clip, sam, tokens = part.boundary()
    if shape.autocast:
        # CLIP's residual stream is float32 from its first norm on.
        clip = dataclasses.replace(clip, dtype="float32")
    return Child("model", part, reads=(clip, sam), writes=(tokens,))


def _language(config: ModelConfig, shape: PassShape, load: Load, chosen: PassShape) -> LanguagePart:
    language = config.language
    common: dict[str, Any] = {
        "batch": shape.batch,
        "q_len": shape.q_len,
        "kv_len": shape.kv_len,
        "hidden_size": language.hidden_size,
        "heads": language.num_attention_heads,
        "kv_heads": language.num_key_value_heads,
        "head_dim": language.head_dim,
        "cached": chosen.kv_len > chosen.q_len,
        "grouped": language.num_key_value_heads < language.num_attention_heads,
    }
    dense = range(language.first_k_dense_replace)
    sparse = range(language.first_k_dense_replace, language.num_hidden_layers)
    kinds: list[tuple[range, BaseLayer]] = [
        (dense, DenseDecoderLayer(intermediate_size=language.intermediate_size, **common)),
        (
            sparse,
            MoEDecoderLayer(
                moe_intermediate_size=language.moe_intermediate_size,
                experts=language.n_routed_experts,
                top_k=language.num_experts_per_tok,
                shared_experts=language.n_shared_experts,
                distinct_experts=load.distinct,
                largest_load=load.largest,
                expert_count=language.n_routed_experts,
                **common,
            ),
        ),
    ]
    layers = (Child(indices(r), kind, len(r), "for") for r, kind in kinds if r)
    return LanguagePart(
        hidden_size=language.hidden_size,
        batch=shape.batch,
        q_len=shape.q_len,
        image_tokens=shape.image_tokens,
        vocab_size=language.vocab_size,
        decoder_layers=tuple(layers),
        has_images=chosen.image_tokens > 0,
    )
