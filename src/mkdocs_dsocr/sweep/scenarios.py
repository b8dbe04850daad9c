"""Whole workloads, a row each: their passes summed up, exactly as the report sums them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.models import STAGES, Batch, BatchPass, check_autocast, model_of
from mkdocs_dsocr.quantities import equal, maximum, select
from mkdocs_dsocr.report import timing
from mkdocs_dsocr.sweep.columns import Array, Rates, allowed
from mkdocs_dsocr.sweep.passes import (
    COUNTS,
    RATES,
    Kind,
    PassPrograms,
    pass_programs,
    weights_program,
)
from mkdocs_dsocr.sweep.program import LARGEST
from mkdocs_dsocr.trace import PassShape

Columns = dict[str, Array]
Passes = Callable[[ModelConfig, Batch], Iterable[BatchPass]]
"""Lists what runs of a batch of pages."""
FORMAT_NAMES: Final = allowed("weight_dtype")
_KINDS: dict[tuple[Any, ...], Kind] = {}


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


def work(config: ModelConfig, dims: Columns, rows: int, passes: Passes | None = None) -> Work:
    """Return the work and the memory of scenarios.

    Parameters
    ----------
    config
        The model.
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
    if (dims["precision_mode"] == allowed("precision_mode").index("autocast")).any():
        check_autocast(config, "sweep")
    parts = list(_parts(config, dims, passes or model_of(config).passes))
    counts = {s: {name: np.zeros(rows, np.int64) for name in COUNTS} for s in STAGES}
    memory, replays = _Memory(config, dims, rows), np.zeros(rows, np.int64)
    for part in parts:
        found = part.programs.work.run(part.columns, len(part.rows))
        for name in COUNTS:
            calls = 1 if name == "dispatches" else part.calls
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
        is_graph=dims["host_mode"] == allowed("host_mode").index("cuda_graph"),
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
    names = ("device_time_ms", "least_tensor_ms")
    sums = {s: {name: np.zeros(found.rows) for name in names} for s in STAGES}
    for part in found.parts:
        mine = gpu[part.rows] if isinstance(gpu, np.ndarray) else gpu
        columns = part.columns | _rates(found, rates, mine, part)
        result = part.programs.time.run(columns, len(part.rows))
        for name in names:
            sums[part.stage][name][part.rows] += part.calls * result[name]
    return {stage: _stage(found, rates, gpu, stage, sums[stage]) for stage in STAGES}


def _stage(found: Work, rates: Rates, gpu: Any, stage: str, sums: Columns) -> Columns:
    counts, device = found.counts[stage], sums["device_time_ms"]
    launches, waits = counts["dispatches"], counts["synchronisations"]
    if stage == "decode":
        launches = np.where(found.is_graph, found.replays, launches)
        waits = np.where(found.is_graph, 0, waits)
    host = timing.host_ms(launches, waits, rates.dispatch[gpu], rates.wait[gpu])
    least = counts["compulsory_io_bytes"]
    return {
        "time_ms": timing.estimate_ms(device, host),
        "device_time_ms": device,
        "host_time_ms": host,
        "floor_time_ms": timing.floor_ms(sums["least_tensor_ms"], least, rates.bandwidth[gpu]),
    }


def _rates(found: Work, rates: Rates, gpu: Any, part: _Part) -> dict[str, Any]:
    """Return the ms of one FLOP or byte in a part's rows, by the symbols of its formulas."""
    result: dict[str, Any] = {"cuda_ms": 1 / rates.cuda[gpu], "memory_ms": 1 / rates.memory[gpu]}
    for name in RATES:
        for symbol, table in ((f"{name}_ms", rates.tensor), (f"{name}_least_ms", rates.peak)):
            if symbol in part.programs.time.inputs:
                chosen = found.rated[name][part.rows]
                one_gpu = isinstance(gpu, int)
                result[symbol] = (1 / table[gpu])[chosen] if one_gpu else 1 / table[gpu, chosen]
    return result


def _rated(dims: Columns) -> Columns:
    """Return the format at whose peak products run, by the operand that decides."""
    is_wide = np.array([FORMATS[name].bits == 16 for name in FORMAT_NAMES])
    activation = dims["activation_dtype"]
    others = {f"{name}_dtype": dims[f"{name}_dtype"] for name in ("weight", "activation", "kv")}
    return rated(others, is_wide[activation])


def rated(codes: Mapping[str, Any], is_wide: Any) -> dict[str, Any]:
    """Return the code of the format at whose peak products run, by the operand that decides.

    Parameters
    ----------
    codes
        The format of ``weight_dtype``, ``activation_dtype`` and ``kv_dtype``.
    is_wide
        Whether activations have 16 bits.
    """
    activation, plain = codes["activation_dtype"], FORMAT_NAMES.index("bf16")
    others = {name: codes[f"{name}_dtype"] for name in ("weight", "activation", "kv")}
    # As Precision has it: that of the activations where they are equal, or have 16 bits.
    return {
        name: select(maximum(is_wide, equal(other, activation)), activation, plain)
        for name, other in {**others, "bf16": plain}.items()
    }


def _rounds(dims: Columns) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the batch and how often it runs, then the smaller one that is left."""
    batch = np.minimum(dims["batch_size"], dims["num_pages"])
    full, rest = np.divmod(dims["num_pages"], batch)
    return (batch, full), (rest, (rest > 0).astype(np.int64))


def _batch(dims: Columns, pages: Array) -> Batch:
    is_cut = dims["crop_mode"]
    return Batch(
        pages=pages,
        is_batched=dims["vision_batching"] == allowed("vision_batching").index("batched"),
        is_cut=is_cut,
        base_size=dims["base_size"],
        image_size=dims["image_size"],
        tiles_w=np.where(is_cut, dims["tiles_w"], 1),
        tiles_h=np.where(is_cut, dims["tiles_h"], 1),
        text_tokens=dims["text_tokens"],
        max_new_tokens=dims["max_new_tokens"],
        last_logits=dims["logits_positions"] == allowed("logits_positions").index("last"),
    )


def _parts(config: ModelConfig, dims: Columns, passes: Passes) -> Iterator[_Part]:
    (pages, times), (rest, once) = _rounds(dims)
    batches = [passes(config, _batch(dims, count)) for count in (pages, rest)]
    for full, last in zip(*batches, strict=True):
        calls, others = full.calls * times, last.calls * once
        # What does not follow the batch is the same in the last, smaller one.
        is_same = equal(full.follows_batch, 0)
        yield from _split(config, dims, full, calls + select(is_same, others, 0), True)
        yield from _split(config, dims, last, select(is_same, 0, others), False)


def _split(
    config: ModelConfig, dims: Columns, found: BatchPass, calls: Array, is_largest: bool
) -> Iterator[_Part]:
    """Yield the rows of a pass that run at all, those with the same formulas together."""
    running = np.flatnonzero(calls)
    autocast = dims["precision_mode"] == allowed("precision_mode").index("autocast")
    eager = dims["traffic"] == allowed("traffic").index("eager")
    chosen = model_of(config).choices(config, found.pass_id, found.sizes)
    flags = [np.broadcast_to(f, calls.shape)[running] for f in (autocast, eager, *chosen)]
    codes = sum((f.astype(np.int64) << i for i, f in enumerate(flags)), np.zeros_like(running))
    sizes = {**found.sizes, **{f"last_{name}": size for name, size in found.last.items()}}
    columns = {k: v for k, v in {**sizes, "steps": found.steps}.items() if np.ndim(v)}
    for code in np.flatnonzero(np.bincount(codes)):
        rows = running[codes == code]
        form = _kind(config, found, int(code), rows[0])
        numbers = {k: v[rows] for k, v in columns.items()} | _formats(dims, rows)
        numbers["calls"] = calls[rows]
        yield _Part(
            found.stage, rows, calls[rows], pass_programs(config, form), numbers, is_largest
        )


def _kind(config: ModelConfig, found: BatchPass, code: int, row: int) -> Kind:
    """Return the kind of pass that a row has: the same object for the same choices."""
    key = (config, found.name, code)
    if key not in _KINDS:
        sizes = {k: int(v[row] if np.ndim(v) else v) for k, v in found.sizes.items()}
        _KINDS[key] = Kind(
            PassShape(found.pass_id, found.part, autocast=bool(code & 1), **sizes),
            columns=tuple(k for k, v in found.sizes.items() if np.ndim(v)),
            grown=tuple(found.last),
            eager=bool(code >> 1 & 1),
        )
    return _KINDS[key]


def _formats(dims: Columns, rows: Array) -> Columns:
    """Return bits, groups and scales of the formats of some rows."""
    return {
        f"{operand}_{what}": np.array([format_numbers(name)[what] for name in FORMAT_NAMES])[
            dims[f"{operand}_dtype"][rows]
        ]
        for operand in ("weight", "activation", "kv")
        for what in format_numbers("bf16")
    }


def format_numbers(name: str) -> dict[str, int]:
    """Return a format as the numbers that formulas are made of."""
    found = FORMATS[name]
    is_whole = found.bits % 8 == 0
    return {
        "bytes": found.bits // 8 if is_whole else 0,
        "rest_bits": 0 if is_whole else found.bits,
        "group": found.group or 1,
        "scale_bytes": found.scale_bits // 8,
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
        batch = np.minimum(dims["batch_size"], dims["num_pages"])
        tokens = _batch(dims, batch).image_tokens
        elements: Any = batch * tokens * config.language.hidden_size
        self.waiting: Any = Tensor("", elements).bytes
        self.footprint = np.zeros(rows, np.int64)
        self.kvcache = np.zeros(rows, np.int64)
        self.activations = np.zeros(rows, np.int64)

    def add(self, part: _Part, found: Mapping[str, Array]) -> None:
        """Take a pass into account."""
        rows, is_language = part.rows, part.stage in ("prefill", "decode")
        waiting: Any = 0 if is_language else self.waiting[rows]
        kvcache = found["kvcache_bytes"]
        needed = self.weights[rows] + kvcache + waiting + found["activation_bytes"]
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
