"""Whole workloads, a row each: their passes summed up, exactly as the report sums them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mkdocs_dsocr.cost.formats import FORMAT_NAMES, compute_dtypes, format_numbers
from mkdocs_dsocr.cost.memory import needed_bytes, waiting_bytes
from mkdocs_dsocr.cost.passes import (
    COUNTS,
    LOAD,
    OPERANDS,
    Form,
    PassPrograms,
    form_of,
    pass_programs,
    weights_program,
)
from mkdocs_dsocr.cost.program import LARGEST
from mkdocs_dsocr.cost.rates import RATES
from mkdocs_dsocr.cost.time import stage_ms
from mkdocs_dsocr.inputs import ModelConfig, Workload
from mkdocs_dsocr.layers.figures import LAUNCHED
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import (
    STAGES,
    Batch,
    BatchPass,
    check_autocast,
    check_pages,
    check_sides,
    expected_load,
    model_of,
    rounds,
)
from mkdocs_dsocr.quantities import equal, minimum, select
from mkdocs_dsocr.sweep.columns import Array, Rates, codes

Columns = dict[str, Array]
Passes = Callable[[ModelConfig, Batch], Iterable[BatchPass]]
"""Lists what runs of a batch of pages."""
_FORMS: dict[tuple[Any, ...], Form] = {}


@dataclass
class _Part:
    """Rows of one pass that have the same formulas.

    Attributes
    ----------
    stage
        Where it belongs.
    rows
        Which scenarios they are of.
    calls
        How often the pass runs in each.
    programs, columns
        Its formulas, and the numbers that go in.
    """

    stage: str
    rows: Array
    calls: Array
    programs: PassPrograms
    columns: Columns
    is_largest: bool


@dataclass
class Work:
    """What scenarios come to, whatever runs them.

    Attributes
    ----------
    rows
        How many scenarios.
    counts
        Integers by stage and name.
    parts
        What their times are made of.
    memory
        Bytes: weights, and KV cache, activations and footprint of the largest stage.
    rated
        Code of the format at whose peak products run, by the operand that decides.
    is_graph, replays
        Whether decode steps are replayed from CUDA graphs, and how many that takes.
    pages
        How many in all.
    """

    rows: int
    counts: dict[str, Columns]
    memory: Columns
    parts: list[_Part] = field(repr=False)
    rated: Columns = field(repr=False)
    is_graph: Array = field(repr=False)
    replays: Array = field(repr=False)
    pages: Array = field(repr=False)


def work(
    config: ModelConfig,
    workload: Workload,
    dims: Columns,
    rows: int,
    passes: Passes | None = None,
) -> Work:
    """Return the work and the memory of scenarios.

    Parameters
    ----------
    config
        The model.
    workload
        Says how the load of the experts is skewed, in every row.
    dims
        Every workload dimension: `rows` numbers or codes each.
    passes
        What runs of a batch of pages; all of the model's passes where not given.

    Raises
    ------
    InputError
        If the model does not know a mode.
    OverflowError
        If an integer does not fit 64 bits.
    """
    if (dims["precision_mode"] == codes("precision_mode")["autocast"]).any():
        check_autocast(config, "sweep")
    check_pages(config, dims["pages_per_prompt"], "sweep")
    if not workload.text_only:
        cut = dims["crop_mode"].astype(bool)
        sides = {"image_size": dims["image_size"], "base_size": dims["base_size"][cut]}
        check_sides(config, sides, "sweep")
    parts = list(_parts(config, workload, dims, passes or model_of(config).passes))
    counts = {s: {name: np.zeros(rows, np.int64) for name in COUNTS} for s in STAGES}
    memory, replays = _Memory(config, dims, rows), np.zeros(rows, np.int64)
    for part in parts:
        found = part.programs.work.run(part.columns, len(part.rows))
        for name in COUNTS:
            calls = 1 if name in LAUNCHED else part.calls
            counts[part.stage][name][part.rows] += _times(calls, found[name])
        if part.is_largest:
            memory.add(part, found)
        if part.stage == "decode":
            replays[part.rows] += part.calls * part.columns.get("steps", 1)
        part.columns |= {k: found[k] for k in part.programs.kernels}
    return Work(
        rows=rows,
        counts=counts,
        memory=memory.columns(),
        parts=parts,
        rated=_rated(dims),
        is_graph=dims["host_mode"] == codes("host_mode")["cuda_graph"],
        replays=replays,
        pages=dims["num_pages"],
    )


def times(found: Work, rates: Rates, gpu: Any) -> dict[str, Columns]:
    """Return device, host and floor time of each stage and their estimate, in ms.

    Parameters
    ----------
    found
        The scenarios.
    rates, gpu
        The GPUs, and which of them: an index for all rows, or an array of indices.
    """
    names = ("device_time_ms", "causal_ms")
    sums = {s: {name: np.zeros(found.rows) for name in names} for s in STAGES}
    for part in found.parts:
        mine = gpu[part.rows] if isinstance(gpu, np.ndarray) else gpu
        columns = part.columns | _rates(found, rates, mine, part)
        result = part.programs.time.run(columns, len(part.rows))
        for name in names:
            sums[part.stage][name][part.rows] += part.calls * result[name]
    per = rates.per(gpu)
    return {
        stage: stage_ms(
            found.counts[stage],
            sums[stage]["device_time_ms"],
            sums[stage]["causal_ms"],
            per,
            found.is_graph if stage == "decode" else 0,
            found.replays,
        )
        for stage in STAGES
    }


def _rates(found: Work, rates: Rates, gpu: Any, part: _Part) -> dict[str, Any]:
    """Return the ms of one FLOP or byte in a part's rows, by the symbols of its formulas."""
    per = rates.per(gpu)
    result: dict[str, Any] = {name: getattr(per, name) for name in RATES}
    for name in OPERANDS:
        if f"{name}_peak_ms" in part.programs.time.inputs:
            chosen = found.rated[name][part.rows]
            peak = rates.peak[gpu][chosen] if isinstance(gpu, int) else rates.peak[gpu, chosen]
            result[f"{name}_peak_ms"] = 1 / peak
    return result


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
    for form in np.flatnonzero(np.bincount(forms)):
        bits = [bool(int(form) >> i & 1) for i in range(len(flags))]
        key = (config, found.name, int(form))
        if key not in _FORMS:
            named = dict(zip(chosen, bits[len(modes) :], strict=True))
            _FORMS[key] = form_of(found, named, **dict(zip(modes, bits, strict=False)))
        rows = running[forms == form]
        numbers = {k: v[rows] for k, v in columns.items()} | _formats(dims, rows)
        numbers["calls"] = calls[rows]
        programs = pass_programs(config, _FORMS[key])
        yield _Part(found.stage, rows, calls[rows], programs, numbers, is_largest)


def _formats(dims: Columns, rows: Array) -> Columns:
    """Return bits, groups and scales of the formats of some rows."""
    return {
        f"{operand}_{what}": np.array([format_numbers(name)[what] for name in FORMAT_NAMES])[
            dims[f"{operand}_dtype"][rows]
        ]
        for operand in ("weight", "activation", "kv")
        for what in format_numbers("bf16")
    }


def _times(calls: Any, amount: Array) -> Array:
    if int(np.max(calls, initial=0)) * int(amount.max(initial=0)) > LARGEST:
        raise OverflowError("an integer of a whole workload: sums of such may need over 64 bits")
    product: Array = calls * amount
    return product


class _Memory:
    """What is in memory in the stage that needs most."""

    def __init__(self, config: ModelConfig, dims: Columns, rows: int) -> None:
        formats = _formats(dims, np.arange(rows))
        self.weights = weights_program(config).run(formats, rows)["weight_bytes"]
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
