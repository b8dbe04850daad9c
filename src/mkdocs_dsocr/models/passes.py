"""Passes as trees of analytic layers: what a model calls, on what sizes, in which formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mkdocs_dsocr.inputs import ModelConfig, Workload
from mkdocs_dsocr.layers.builtin import Group
from mkdocs_dsocr.layers.decoder import expected_distinct
from mkdocs_dsocr.layers.formats import FORMATS, Format
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.models.door import STAGES, Choices, Load
from mkdocs_dsocr.models.plan import Plan, Run
from mkdocs_dsocr.models.registry import model_of
from mkdocs_dsocr.models.storage import formats_of
from mkdocs_dsocr.quantities import Quantity, ceil_div, total
from mkdocs_dsocr.trace import PassShape

Routing = Mapping[PassShape, Load]
"""The load of the experts in a pass of some shape."""


def build(config: ModelConfig, plan: Plan, routing: Routing | None = None) -> BaseLayer:
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
    return model_of(config).whole(tuple(items))


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
    like: PassShape | None = None,
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
    like
        A shape of integers for which the choices are made, where `shape` has arrays.
    """
    is_language = shape.part == "language"
    if load is None:
        load = expected_load(config, shape.batch * shape.q_len, workload if is_language else None)
    # Tables, workloads and traces ask for the same passes; arrays of sizes have no hash.
    is_one_size = isinstance(shape.batch, int) and isinstance(shape.pages, int)
    make = _shared_pass if is_one_size else _pass_of_shape
    return make(config, shape, *load, like or shape, _precision(config, shape, workload))


def _pass_of_shape(
    config: ModelConfig,
    shape: PassShape,
    distinct: Quantity,
    largest: Quantity,
    like: PassShape,
    precision: Precision | None,
) -> Group:
    chosen = choices_of(config, like)
    return built_pass(config, shape, Load(distinct, largest), chosen, precision)


# An expected load is a float, a traced one a fraction: passes that have them are not the same.
_shared_pass = lru_cache(maxsize=256, typed=True)(_pass_of_shape)


def built_pass(
    config: ModelConfig,
    shape: PassShape,
    load: Load,
    chosen: Choices,
    precision: Precision | None = None,
) -> Group:
    """Return one run of a pass with integers, arrays or symbols as its sizes.

    Parameters
    ----------
    config, shape, load, precision
        As for :func:`pass_layer`.
    chosen
        The model's choices, each true or false.
    """
    items = model_of(config).modules(config, shape, load, chosen)
    return Group(items=tuple(items), precision=precision)


def choices_of(config: ModelConfig, shape: PassShape) -> dict[str, bool]:
    """Return the model's choices for a shape of integers."""
    sizes = {f.name: getattr(shape, f.name) for f in dataclasses.fields(shape)}
    found = model_of(config).choices(config, shape.pass_id, sizes)
    return {name: bool(condition) for name, condition in found.items()}


def _precision(
    config: ModelConfig, shape: PassShape, workload: Workload | None
) -> Precision | None:
    """Return the formats of a run; None for those of the modules."""
    formats = Precision() if workload is None else _formats(config, workload)
    precision = dataclasses.replace(formats, autocast=shape.autocast)
    return None if precision == Precision() else precision


def plain_format(config: ModelConfig) -> Format | None:
    """Return the format of what no workload quantises, where it has other than 16 bits."""
    found = FORMATS[config.storage.dtype]
    return None if found.bits == FORMATS["bf16"].bits else found


def _formats(config: ModelConfig, workload: Workload) -> Precision:
    weight, activation, kv_cache = formats_of(config.storage, workload)
    return Precision(
        weight=FORMATS[weight],
        activation=FORMATS[activation],
        kv_cache=FORMATS[kv_cache],
        eager=workload.traffic == "eager",
        plain=plain_format(config),
        kept=config.storage.kept,
    )


def compute_dtypes(config: ModelConfig, workload: Workload) -> set[str]:
    """Return the formats at whose peak tensor cores work."""
    return _formats(config, workload).compute_dtypes


def expected_load(config: ModelConfig, tokens: Any, workload: Workload | None = None) -> Load:
    """Return how many experts `tokens` tokens are expected to touch, and the busiest one's tokens.

    Parameters
    ----------
    config
        The model's dimensions.
    tokens
        Tokens of a pass: an integer, an array or a symbol.
    workload
        Says how skewed the load is; where not given, it is even.
    """
    language = config.language
    if not language.n_routed_experts:
        return Load(0, 0)
    experts, top_k = language.n_routed_experts, language.num_experts_per_tok
    if workload is None or workload.expert_load is None:
        return Load(expected_distinct(experts, top_k, tokens), ceil_div(tokens * top_k, experts))
    shares = expert_shares(workload.expert_load, top_k)
    # Of a billion tokens, so that the count stays an integer.
    largest = ceil_div(tokens * round(max(shares) * 10**9), 10**9)
    return Load(total(1 - (1 - share) ** tokens for share in shares), largest)


def expert_shares(load: Sequence[float], top_k: int) -> list[float]:
    """Return the share of tokens that choose each expert: `load`, scaled to `top_k` in all."""
    whole = sum(load)
    return [top_k * amount / whole for amount in load]
