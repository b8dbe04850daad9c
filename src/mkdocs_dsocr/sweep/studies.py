"""What a workload comes to when one thing changes: the tables behind a site's plots.

One batch of pages each, evaluated as a sweep is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from mkdocs_dsocr.cost.rates import slowest_launch_us
from mkdocs_dsocr.inputs import Hardware, ModelConfig
from mkdocs_dsocr.inputs.fields import RATE
from mkdocs_dsocr.inputs.workload import BATCH
from mkdocs_dsocr.models import Batch, BatchPass, Plan, max_tiles_of, model_of
from mkdocs_dsocr.models.tokens import grids
from mkdocs_dsocr.sweep.api import rows_of
from mkdocs_dsocr.sweep.columns import NUMBERS, Array, defaults
from mkdocs_dsocr.sweep.scenarios import FIGURES

T = TypeVar("T")
Table = dict[str, Array]
"""Columns by name, all of one length."""
BASE_SIZE: Final = 1024
"""Side of the global view beside local ones, for workloads that have none, px."""
LATENCIES: Final = (
    *FIGURES,
    *("image_tokens", "ttft_ms", "tpot_ms", "step_io_bytes", "step_dispatches"),
)
"""The columns of :func:`latencies` after the dimensions."""
SQUARES: Final = range(4, 21)
"""Sides of the square grids beyond a model's rule: up to 400 tiles."""
BEFORE_DECODE: Final = ("vision", "projector", "prefill")
CONTEXTS: Final = [2**n for n in range(8, 18)]
BATCHES: Final = [2**n for n in range(0, 15)]
TTFT_MS: Final = 1000.0
TPOT_MS: Final = 50.0
CHANGE: Final = 0.1
"""By how much an input is changed, both ways."""
RATES: Final = {
    "tensor_tflops": "peak of tensor cores",
    "cuda_tflops": "peak of CUDA cores",
    "bandwidth_gb_s": "memory bandwidth",
    "dispatch_us": "host time of an operator",
    "synchronise_us": "host time of a wait",
}
SIZES: Final = ("text_tokens", "max_new_tokens", "batch_size")
"""The inputs of a sensitivity beside :data:`RATES`."""
MOVED: Final = ("ttft_ms", "tpot_ms", "pages_per_s")
"""The figures that a sensitivity shows."""
GRAPHS: Final = "CUDA graphs for decode steps"
LEVERS: Final[Mapping[str, Mapping[str, Any]]] = {
    GRAPHS: {"host_mode": "cuda_graph"},
    "fused kernels": {"traffic": "fused"},
    "int8 weights": {"weight_dtype": "int8"},
    "logits of the last position only": {"logits_positions": "last"},
    "encoding all pages of a batch at once": {"vision_batching": "batched"},
    "int8 KV cache": {"kv_dtype": "int8"},
    "an 8 times larger batch": {"batch_size": 8},
}
"""Changes of a workload that its owner can make; the batch in multiples of what it is."""


def latencies(
    config: ModelConfig, planned: Plan, gpus: Sequence[Hardware], **dimensions: Any
) -> Table:
    """Return what a user waits for, with the columns of a sweep; one batch of pages per row.

    ``ttft_ms``, ``tpot_ms`` (of the decode's middle step; NaN where nothing is decoded) and
    ``image_tokens`` stand beside them.
    """
    base = defaults(planned) | dimensions
    batch = np.atleast_1d(np.asarray(base["batch_size"]))
    if "batch_size" not in dimensions:
        batch = np.array([planned.batch])
    own = dimensions | {"num_pages": batch * base["pages_per_prompt"], "batch_size": batch}
    found = rows_of(config, planned, gpus, **own)
    steps = np.asarray(base["max_new_tokens"]) - 1
    step = rows_of(config, planned, gpus, passes=middle_step, **own)
    return {
        **found,
        "image_tokens": np.broadcast_to(_image_tokens(planned, base), found.rows),
        "ttft_ms": np.add.reduce([found[f"{stage}_time_ms"] for stage in BEFORE_DECODE]),
        "tpot_ms": np.where(steps > 0, step["decode_time_ms"], np.nan),
        "step_io_bytes": step["decode_io_bytes"],
        "step_dispatches": step["decode_dispatches"],
    }


def middle_step(config: ModelConfig, batch: Batch) -> Iterator[BatchPass]:
    """Yield one decode step, in the middle of them; the first where there is none."""
    yield batch.loop("middle_step", batch.middle, batch.middle, model_of(config).window(config))


def _image_tokens(planned: Plan, base: Mapping[str, Any]) -> Any:
    names = ("base_size", "image_size", "tiles_w", "tiles_h", "pages_per_prompt")
    views: dict[str, Any] = {name: np.asarray(base[name]) for name in names}
    crop_mode = 1 * np.asarray(base["crop_mode"])
    return dataclasses.replace(planned.of(1), crop_mode=crop_mode, **views).image_tokens


def by_grid(config: ModelConfig, planned: Plan, gpu: Hardware) -> Table:
    """Return a row for each grid of local views: all of the model's rule, and squares beyond."""
    model = model_of(config)
    views = {"crop_mode": True, "base_size": BASE_SIZE, "image_size": model.tile_size}
    crops = {} if planned.workload.crop_mode else views

    def evaluated(chosen: list[tuple[int, int]]) -> Table:
        tiles_w, tiles_h = np.array(chosen).T
        found = latencies(config, planned, [gpu], tiles_w=tiles_w, tiles_h=tiles_h, **crops)
        return {"tiles": tiles_w * tiles_h, **found}

    most = max_tiles_of(config, planned.workload)
    squares = [(side, side) for side in SQUARES if side**2 > most]
    return _as_many_as_fit(evaluated, [*grids(most, model.min_tiles), *squares])


def by_context(config: ModelConfig, planned: Plan, gpu: Hardware) -> Table:
    """Return a row for each length of the context of one decode step."""
    first = planned.image_tokens + 1
    contexts = np.array([c for c in CONTEXTS if c >= first] or [first])
    text = contexts - 1 - planned.image_tokens
    found = latencies(config, planned, [gpu], text_tokens=text, max_new_tokens=2)
    return {"context": contexts, **found}


def by_batch(config: ModelConfig, planned: Plan, gpu: Hardware) -> Table:
    """Return a row for each batch, and the rates that :data:`TTFT_MS` and :data:`TPOT_MS` need."""
    found = _as_many_as_fit(
        lambda batches: latencies(config, planned, [gpu], batch_size=np.array(batches)), BATCHES
    )
    flops, moved, launches = (
        np.add.reduce([found[f"{stage}_{what}"] for stage in BEFORE_DECODE])
        for what in ("tensor_core_flops", "io_bytes", "dispatches")
    )
    return {
        **found,
        "tokens_per_s": 1000 * found["batch_size"] / found["tpot_ms"],
        "ttft_needs_tflops": flops / TTFT_MS / 1e9,
        "ttft_needs_gb_s": moved / TTFT_MS / 1e6,
        "ttft_needs_dispatch_us": 1000 * TTFT_MS / launches,
        "tpot_needs_gb_s": found["step_io_bytes"] / TPOT_MS / 1e6,
        "tpot_needs_dispatch_us": 1000 * TPOT_MS / found["step_dispatches"],
    }


def _as_many_as_fit(evaluate: Callable[[list[T]], Table], values: list[T]) -> Table:
    """Return the rows of the first values, as many as 64 bits are enough for."""
    while True:
        try:
            return evaluate(values)
        except OverflowError:
            if len(values) == 1:
                raise
            values = values[: len(values) // 2]


def by_gpu(
    config: ModelConfig, planned: Plan, gpus: Sequence[Hardware], batches: Sequence[int]
) -> Table:
    """Return a row for each GPU, each with a batch of its own."""
    return latencies(config, planned, gpus, batch_size=np.array(batches))


def sensitivity(config: ModelConfig, planned: Plan, gpu: Hardware) -> Table:
    """Return a row for each input, :data:`CHANGE` below and above what it is.

    Columns ``input``, ``value``, and for ``ttft_ms``, ``tpot_ms`` and ``pages_per_s`` the share
    by which each moves: ``<figure>_below``, ``<figure>_above``.
    """
    base = defaults(planned) | {"batch_size": planned.batch}
    own = _rates(gpu)
    inputs = {name: value for name, value in own.items() if value}
    inputs |= {name: base[name] for name in SIZES}
    names = [name for name, value in inputs.items() if _can_move(name, value)]
    rows: dict[str, list[Any]] = {name: [base.get(name, own.get(name))] for name in names}
    for changed in names:
        for factor in (1 - CHANGE, 1 + CHANGE):
            for name in names:
                value = inputs[name] * (factor if name == changed else 1)
                rows[name].append(value if name in own else max(round(value), 1))
    columns = {name: np.array(values) for name, values in rows.items()}
    found = latencies(config, planned, [gpu], **columns)
    result: Table = {
        "input": np.array(names, object),
        "value": np.array([inputs[n] for n in names]),
    }
    for figure in MOVED:
        share = found[figure] / found[figure][0] - 1
        result[f"{figure}_below"], result[f"{figure}_above"] = share[1::2], share[2::2]
    return result


def _can_move(name: str, value: float) -> bool:
    """Tell whether an input that moves by :data:`CHANGE` is another value, and is allowed."""
    larger = value * (1 + CHANGE)
    if name in RATES:
        return bool(RATE.allows(larger) and RATE.allows(value * (1 - CHANGE)))
    return round(larger) != value and bool(NUMBERS[name].allows(round(larger)))


def levers(config: ModelConfig, planned: Plan, gpu: Hardware) -> Table:
    """Return by how much each of :data:`LEVERS` multiplies the pages per second, the best first.

    Columns ``lever``, ``times``, and ``times_slow`` with the slowest CPU that is known (see
    :func:`mkdocs_dsocr.cost.rates.slowest_launch_us`). What changes nothing, or does not fit the
    GPU, is left out.
    """
    base = defaults(planned) | {"batch_size": planned.batch}
    changes = {
        name: {
            k: min(v * base[k], BATCH.most) if k == "batch_size" else v for k, v in change.items()
        }
        for name, change in LEVERS.items()
    }
    chosen = [n for n, change in changes.items() if any(base[k] != v for k, v in change.items())]
    changed = dict.fromkeys(k for name in chosen for k in changes[name])
    rows = [{}, *(changes[name] for name in chosen)]
    columns = {k: np.array(2 * [row.get(k, base[k]) for row in rows]) for k in changed}
    if gpu.host:
        costs = [gpu.dispatch_us, slowest_launch_us(gpu)]
        columns["dispatch_us"] = np.repeat(costs, len(rows))
    found = latencies(config, planned, [gpu], **columns)
    rates = found["pages_per_s"].reshape(2, -1)
    times, slow = rates[:, 1:] / rates[:, :1]
    order = [i for i in np.argsort(-times, kind="stable").tolist() if found["fits"][i + 1]]
    return {
        "lever": np.array(chosen, object)[order],
        "times": times[order],
        "times_slow": slow[order],
    }


def _rates(gpu: Hardware) -> dict[str, float]:
    return {
        "tensor_tflops": gpu.tensor_peak.tflops,
        "cuda_tflops": gpu.cuda_fp32.tflops,
        "bandwidth_gb_s": gpu.bandwidth_gb_s,
        "dispatch_us": gpu.dispatch_us,
        "synchronise_us": gpu.synchronise_us,
    }
