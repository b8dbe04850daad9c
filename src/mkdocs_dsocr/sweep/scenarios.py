"""Whole workloads, a row each: their passes summed up, exactly as the report sums them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.formats import FORMAT_NAMES, compute_dtypes, format_numbers
from mkdocs_dsocr.cost.memory import needed_bytes, waiting_bytes
from mkdocs_dsocr.cost.passes import (
    COUNTS,
    LOAD,
    form_of,
    pass_program,
    weights_program,
)
from mkdocs_dsocr.cost.program import LARGEST, Program
from mkdocs_dsocr.cost.rates import RATES, MsPer
from mkdocs_dsocr.cost.time import stage_ms
from mkdocs_dsocr.inputs import ModelConfig, Workload
from mkdocs_dsocr.layers.figures import LAUNCHED
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import (
    STAGES,
    Batch,
    BatchPass,
    expected_load,
    model_of,
    rounds,
)
from mkdocs_dsocr.quantities import equal, minimum, select
from mkdocs_dsocr.sweep.checks import check_scenarios
from mkdocs_dsocr.sweep.columns import Array, Rates, codes

Columns = dict[str, Array]
ByStage = dict[str, Columns]
Passes = Callable[[ModelConfig, Batch], Iterable[BatchPass]]
"""Lists what runs of a batch of pages."""
FORMAT_DIMENSIONS: Final = ("weight_dtype", "activation_dtype", "kv_dtype")
"""Dimensions that say how values are stored."""
DEVICE: Final = ("device_time_ms", "causal_ms")
"""Outputs of a pass that times are made of."""
HASH_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
"""Any odd number: columns are hashed by multiplication and addition."""
TIMES: Final = ("time_ms", "device_time_ms", "host_time_ms", "floor_time_ms")
FIGURES: Final = (
    *(f"{stage}_{name}" for name in (*COUNTS, *TIMES) for stage in STAGES),
    *COUNTS,
    *("weight_bytes", "kvcache_bytes", "activation_bytes", "footprint_bytes"),
    *("time_ms", "floor_time_ms", "pages_per_s", "fits"),
)
"""What scenarios come to."""


@dataclass
class _Part:
    """Rows of one pass that have the same formulas.

    Attributes
    ----------
    stage
        Where it belongs.
    rows
        Which scenarios they are of: indices, or a slice of all.
    calls
        How often the pass runs in each.
    program, columns
        Its formulas, and the numbers of this pass that go in.
    is_largest
        Whether it is of a full batch.
    """

    stage: str
    rows: Any
    calls: Array
    program: Program
    columns: Columns
    is_largest: bool


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # rates may be extreme or NaN
def evaluated(
    config: ModelConfig,
    workload: Workload,
    dims: Columns,
    rates: Rates,
    gpu: Array,
    passes: Passes | None = None,
) -> Columns:
    """Return :data:`FIGURES` of scenarios.

    Parameters
    ----------
    config
        The model.
    workload
        Says how the load of the experts is skewed, in every row.
    dims
        Every workload dimension: a number or code for each row.
    rates, gpu
        The GPUs, and which of them: an index for each row, or ``[n, 1]``, each for all rows.
        With the latter, what depends on the GPU is ``[n, rows]``.
    passes
        What runs of a batch of pages; all of the model's passes where not given.

    Raises
    ------
    InputError
        If a workload file with the values of a scenario would be refused.
    OverflowError
        If an integer does not fit 64 bits.
    """
    check_scenarios(config, dims)
    rows, shape = len(dims["num_pages"]), np.broadcast_shapes(gpu.shape, dims["num_pages"].shape)
    counts: ByStage = {s: {name: np.zeros(rows, np.int64) for name in COUNTS} for s in STAGES}
    device: ByStage = {s: {name: np.zeros(shape) for name in DEVICE} for s in STAGES}
    per = rates.per(gpu)
    given = _given(dims, rates, gpu, per)
    memory, replays = _Memory(config, dims, given, rows), np.zeros(rows, np.int64)
    for part in _parts(config, workload, dims, passes or model_of(config).passes):
        at, found = part.rows, _run(part, given, dims, is_crossed=gpu.ndim == 2)
        for name in COUNTS:
            calls: Any = 1 if name in LAUNCHED else part.calls
            counts[part.stage][name][at] += _product(calls, found[name])
        for name in DEVICE:
            device[part.stage][name][..., at] += part.calls * found[name]
        if part.is_largest:
            memory.add(part, found)
        if part.stage == "decode":
            steps: Any = part.columns.get("steps", 1)
            replays[at] += part.calls * steps
    is_graph = dims["host_mode"] == codes("host_mode")["cuda_graph"]
    graphs = {"decode": is_graph}
    times: ByStage = {}
    for s in STAGES:
        device_ms, causal_ms = (device[s][name] for name in DEVICE)
        times[s] = stage_ms(counts[s], device_ms, causal_ms, per, graphs.get(s, 0), replays)
    columns = _by_stage(counts, COUNTS) | _by_stage(times, TIMES) | memory.columns()
    for name in (*COUNTS, "time_ms", "floor_time_ms"):
        columns[name] = functools.reduce(np.add, (columns[f"{s}_{name}"] for s in STAGES))
    columns["pages_per_s"] = 1000 * dims["num_pages"] / columns["time_ms"]
    columns["fits"] = columns["footprint_bytes"] <= rates.capacity[gpu]
    return {name: columns[name] for name in FIGURES}


def _by_stage(found: ByStage, names: Iterable[str]) -> Columns:
    return {f"{stage}_{name}": found[stage][name] for name in names for stage in STAGES}


def _given(dims: Columns, rates: Rates, gpu: Array, per: MsPer) -> Columns:
    """Return the numbers of formats and GPUs, which are the same in all passes."""
    peaks = {f"{operand}_peak_ms": rates.peak_ms(gpu, f) for operand, f in _rated(dims).items()}
    return _formats(dims) | {name: getattr(per, name) for name in RATES} | peaks


def _run(part: _Part, given: Columns, dims: Columns, is_crossed: bool) -> Columns:
    """Return what a part comes to; on the same GPUs, rows with the same numbers run once."""
    columns, rows, places = part.columns, part.rows, None
    every = len(dims["num_pages"])
    if is_crossed:
        first, places = _distinct(columns | {name: dims[name][rows] for name in FORMAT_DIMENSIONS})
        columns = {name: column[first] for name, column in columns.items()}
        rows = np.arange(every)[rows][first]
    by_row = {
        name: given[name][..., rows] if given[name].shape[-1] == every else given[name]
        for name in part.program.inputs & given.keys()
    }
    found = part.program.run(columns | by_row, len(columns["calls"]))
    return found if places is None else {k: v[..., places] for k, v in found.items()}


def _distinct(columns: Columns) -> tuple[Any, Array | None]:
    """Return the indices of rows that differ, and the place among these of each row.

    None for the places where all rows are taken as they are.
    """
    key = np.zeros(len(columns["calls"]), np.uint64)
    for column in columns.values():
        key = key * HASH_FACTOR + np.asarray(column, np.float64).view(np.uint64)
    _, first, places = np.unique(key, return_index=True, return_inverse=True)
    is_exact = all((column[first][places] == column).all() for column in columns.values())
    if not is_exact or 2 * len(first) > len(key):
        return slice(None), None
    return first, places


def _rated(dims: Columns) -> Columns:
    """Return the format at whose peak products run, by the operand that decides."""
    is_wide = np.array([FORMATS[name].bits >= 16 for name in FORMAT_NAMES])
    activation = dims["activation_dtype"]
    others = {f"{name}_dtype": dims[f"{name}_dtype"] for name in ("weight", "activation", "kv")}
    return compute_dtypes(others, is_wide[activation])


def _batch(config: ModelConfig, dims: Columns, prompts: Array) -> Batch:
    crop_mode = dims["crop_mode"]
    return Batch(
        prompts=prompts,
        is_batched=dims["vision_batching"] == codes("vision_batching")["batched"],
        crop_mode=crop_mode,
        base_size=dims["base_size"],
        image_size=dims["image_size"],
        tiles_w=np.where(crop_mode, dims["tiles_w"], 1),
        tiles_h=np.where(crop_mode, dims["tiles_h"], 1),
        text_tokens=dims["text_tokens"],
        max_new_tokens=dims["max_new_tokens"],
        last_logits=dims["logits_positions"] == codes("logits_positions")["last"],
        text_only=dims["text_only"],
        layout=model_of(config).layout,
        pages_per_prompt=dims["pages_per_prompt"],
    )


def _prompts(dims: Columns) -> Array:
    """Return how many prompts there are."""
    return dims["num_pages"] // dims["pages_per_prompt"]


def _parts(
    config: ModelConfig, workload: Workload, dims: Columns, passes: Passes
) -> Iterator[_Part]:
    (prompts, times), (rest, once) = rounds(_prompts(dims), dims["batch_size"])
    batches = [passes(config, _batch(config, dims, count)) for count in (prompts, rest)]
    for full, last in zip(*batches, strict=True):
        calls, others = full.calls * times, last.calls * once
        # What does not follow the batch is the same in the last, smaller one.
        is_same = equal(full.follows_batch, 0)
        split = functools.partial(_split, config, workload, dims)
        yield from split(full, calls + select(is_same, others, 0), True)
        yield from split(last, select(is_same, 0, others), False)


def _split(
    config: ModelConfig,
    workload: Workload,
    dims: Columns,
    found: BatchPass,
    calls: Array,
    is_largest: bool,
) -> Iterator[_Part]:
    """Yield the rows of a pass that run at all, those with the same formulas together."""
    running = np.flatnonzero(calls)
    modes = {
        "autocast": dims["precision_mode"] == codes("precision_mode")["autocast"],
        "eager": dims["traffic"] == codes("traffic")["eager"],
    }
    chosen = model_of(config).choices(config, found.pass_id, found.sizes)
    flags = [np.broadcast_to(f, calls.shape)[running] for f in (*modes.values(), *chosen.values())]
    forms = sum((f.astype(np.int64) << i for i, f in enumerate(flags)), np.zeros_like(running))
    sizes = {**found.sizes, **{f"last_{name}": size for name, size in found.last.items()}}
    columns = {k: v for k, v in {**sizes, "steps": found.steps}.items() if np.ndim(v)}
    if found.part == "language":
        tokens = np.broadcast_to(found.sizes["batch"] * found.sizes["q_len"], calls.shape)
        load = expected_load(config, tokens, workload)
        each = (np.broadcast_to(np.asarray(x), calls.shape) for x in load)
        columns |= dict(zip(LOAD, each, strict=True))
    columns["calls"] = calls
    for form in np.flatnonzero(np.bincount(forms)):
        bits = [bool(int(form) >> i & 1) for i in range(len(flags))]
        named = dict(zip(chosen, bits[len(modes) :], strict=True))
        program = pass_program(
            config, form_of(found, named, **dict(zip(modes, bits, strict=False)))
        )
        rows: Any = running[forms == form]
        rows = slice(None) if len(rows) == len(calls) else rows
        numbers = {name: column[rows] for name, column in columns.items()}
        yield _Part(found.stage, rows, numbers["calls"], program, numbers, is_largest)


def _formats(dims: Columns) -> Columns:
    """Return bits, groups and scales of the formats of all rows."""
    numbers = [format_numbers(name) for name in FORMAT_NAMES]
    return {
        f"{operand}_{what}": np.array([of[what] for of in numbers])[dims[f"{operand}_dtype"]]
        for operand in ("weight", "activation", "kv")
        for what in numbers[0]
    }


def _product(calls: Any, amount: Array) -> Any:
    if int(np.max(calls, initial=0)) * int(amount.max(initial=0)) > LARGEST:
        raise OverflowError("an integer of a whole workload: sums of such may need over 64 bits")
    return calls * amount


class _Memory:
    """What is in memory in the stage that needs most."""

    def __init__(self, config: ModelConfig, dims: Columns, given: Columns, rows: int) -> None:
        self.weights = weights_program(config).run(given, rows)["weight_bytes"]
        self._config = config
        self._batch = minimum(dims["batch_size"], _prompts(dims))
        self._image_tokens = _batch(config, dims, self._batch).image_tokens
        self.footprint = np.zeros(rows, np.int64)
        self.kvcache = np.zeros(rows, np.int64)
        self.activations = np.zeros(rows, np.int64)

    def add(self, part: _Part, found: Mapping[str, Array]) -> None:
        """Take a pass into account."""
        rows, kvcache = part.rows, found["kvcache_bytes"]
        waiting = waiting_bytes(
            self._config, part.stage, self._batch[rows], self._image_tokens[rows]
        )
        needed = needed_bytes(self.weights[rows], kvcache, waiting, found["activation_bytes"])
        self.footprint[rows] = np.maximum(self.footprint[rows], needed)
        self.kvcache[rows] = np.maximum(self.kvcache[rows], kvcache)
        self.activations[rows] = np.maximum(self.activations[rows], found["activation_bytes"])

    def columns(self) -> Columns:
        return {
            "weight_bytes": self.weights,
            "kvcache_bytes": self.kvcache,
            "activation_bytes": self.activations,
            "footprint_bytes": self.footprint,
        }
