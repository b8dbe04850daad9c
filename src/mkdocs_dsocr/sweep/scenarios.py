"""Whole workloads, a row each: their passes summed up, exactly as the report sums them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import ModelConfig, constants
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.operations import Tensor
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.models.tokens import (
    features_a_side,
    global_tokens,
    local_tokens,
    patches_a_side,
)
from mkdocs_dsocr.quantities import ceil_div, equal, less, maximum, select
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


def work(config: ModelConfig, dims: Columns, rows: int) -> Work:
    """Return the work and the memory of scenarios.

    Parameters
    ----------
    config
        The model.
    dims
        Every workload dimension: `rows` numbers or codes each.

    Raises
    ------
    OverflowError
        If an integer does not fit 64 bits.
    """
    parts = list(_parts(config, dims))
    counts = {s: {name: np.zeros(rows, np.int64) for name in COUNTS} for s in STAGES}
    memory = _Memory(config, dims, rows)
    for part in parts:
        found = part.programs.work.run(part.columns, len(part.rows))
        for name in COUNTS:
            calls = 1 if name == "dispatches" else part.calls
            counts[part.stage][name][part.rows] += _times(calls, found[name])
        if part.is_largest:
            memory.add(part, found)
        part.columns |= {k: found[k] for k in part.programs.kernels}
    steps = dims["max_new_tokens"] - 1
    replays = steps * sum(count for _, count, _ in _rounds(dims))
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


def _rounds(dims: Columns) -> Iterator[tuple[Array, Array, bool]]:
    """Yield batch sizes, how often each runs, and whether it is the largest."""
    batch = np.minimum(dims["batch_size"], dims["num_pages"])
    full, rest = np.divmod(dims["num_pages"], batch)
    yield batch, full, True
    yield rest, (rest > 0).astype(np.int64), False


def _parts(config: ModelConfig, dims: Columns) -> Iterator[_Part]:
    has_tiles = (dims["crop_mode"] == 1) & ((dims["tiles_w"] > 1) | (dims["tiles_h"] > 1))
    whole = _global_view(dims)
    ones = np.ones_like(whole)
    views = (
        ("global", whole, ones, ones, np.ones(len(whole), bool)),
        ("local", dims["image_size"], dims["tiles_w"], dims["tiles_h"], has_tiles),
    )
    is_batched = dims["vision_batching"] == allowed("vision_batching").index("batched")
    for kind, size, tiles_w, tiles_h, there in views:
        sizes = {"image_size": size, "tiles_w": tiles_w, "tiles_h": tiles_h}
        for batch, count, is_largest in _rounds(dims):
            alone = ~is_batched & is_largest
            pages = np.where(is_batched, batch, 1)
            calls = np.where(is_batched, count, np.where(alone, dims["num_pages"], 0))
            for stage in ("vision", "projector"):
                columns = {**sizes, "pages": pages}
                yield from _split(
                    config, dims, f"{stage}.{kind}", columns, calls * there, is_largest
                )
    seq_len = _image_tokens(dims, has_tiles) + dims["text_tokens"]
    last_only = dims["logits_positions"] == allowed("logits_positions").index("last")
    steps = dims["max_new_tokens"] - 1
    for batch, count, is_largest in _rounds(dims):
        prefill = {
            "batch": batch,
            "q_len": seq_len,
            "kv_len": seq_len,
            "image_tokens": _image_tokens(dims, has_tiles),
            "logits": np.where(last_only, 1, seq_len),
        }
        yield from _split(config, dims, "prefill", prefill, count, is_largest)
        decode = {
            "batch": batch,
            "q_len": ones,
            "kv_len": seq_len + 1,
            "last_kv_len": seq_len + steps,
            "image_tokens": 0 * ones,
            "logits": ones,
            "steps": steps,
        }
        yield from _split(config, dims, "decode", decode, count * (steps > 0), is_largest)


def _split(
    config: ModelConfig,
    dims: Columns,
    pass_id: str,
    columns: Columns,
    calls: Array,
    is_largest: bool,
) -> Iterator[_Part]:
    """Yield the rows of a pass that run at all, those with the same formulas together."""
    running = np.flatnonzero(calls)
    autocast = dims["precision_mode"] == allowed("precision_mode").index("autocast")
    eager = dims["traffic"] == allowed("traffic").index("eager")
    flags = [f[running] for f in (autocast, eager, *choices(config, pass_id, columns))]
    codes = sum((f.astype(np.int64) << i for i, f in enumerate(flags)), np.zeros_like(running))
    for code in np.flatnonzero(np.bincount(codes)):
        rows = running[codes == code]
        chosen = tuple(bool(code >> i & 1) for i in range(len(flags)))
        form = kind(config, pass_id, chosen, columns, rows[0])
        numbers = {k: v[rows] for k, v in columns.items()} | _formats(dims, rows)
        numbers["calls"] = calls[rows]
        stage = pass_id.partition(".")[0]
        programs = pass_programs(config, form)
        yield _Part(stage, rows, calls[rows], programs, numbers, is_largest)


def choices(config: ModelConfig, pass_id: str, columns: Mapping[str, Any]) -> list[Any]:
    """Return what decides the formulas of a pass; see :func:`mkdocs_dsocr.models.built_pass`."""
    if pass_id in ("prefill", "decode"):
        return []
    grid, side = patches_a_side(columns["image_size"]), features_a_side(columns["image_size"])
    if pass_id.startswith("projector"):
        return [less(1, columns["tiles_w"]) * less(1, side)]
    return [
        1 - equal(ceil_div(grid, constants.SAM_WINDOW) * constants.SAM_WINDOW, grid),
        less(constants.SAM_WINDOW, grid),
        1 - equal(grid, config.sam_table_side),
        1 - equal(side, config.clip.table_side),
        equal(columns["pages"] * columns["tiles_w"] * columns["tiles_h"], 1),
    ]


def kind(
    config: ModelConfig, pass_id: str, flags: tuple[bool, ...], columns: Columns, row: int
) -> Kind:
    """Return the kind of pass that a row has: the same object for the same choices."""
    key = (config, pass_id, flags)
    if key not in _KINDS:
        sizes = {k: int(v[row]) for k, v in columns.items() if k in PassShape.__annotations__}
        stage = pass_id.partition(".")[0]
        part: Any = stage if stage in ("vision", "projector") else "language"
        autocast, eager, *_ = flags
        like = PassShape(pass_id, part, autocast=bool(autocast), **sizes)
        _KINDS[key] = Kind(like, bool(eager))
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


def _global_view(dims: Columns) -> Array:
    return np.where(dims["crop_mode"] == 1, dims["base_size"], dims["image_size"])


def _image_tokens(dims: Columns, has_tiles: Array) -> Array:
    local = local_tokens(dims["image_size"], dims["tiles_w"], dims["tiles_h"])
    tokens: Array = global_tokens(_global_view(dims)) + np.where(has_tiles, local, 0)
    return tokens


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
        tokens = _image_tokens(
            dims, (dims["crop_mode"] == 1) & (dims["tiles_w"] * dims["tiles_h"] > 1)
        )
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
