"""Grids and rows of scenarios, and what becomes of their columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import InputError, ModelConfig, load_model_config, load_workload
from mkdocs_dsocr.models import STAGES, plan
from mkdocs_dsocr.sweep.columns import (
    CHOICES,
    HARDWARE,
    WORKLOAD,
    Array,
    Rates,
    allowed,
    checked,
    defaults,
    profiles,
)
from mkdocs_dsocr.sweep.passes import COUNTS
from mkdocs_dsocr.sweep.scenarios import Columns, Work, times, work

CHUNK: Final = 1 << 16
"""Scenarios that are evaluated at once."""
TIMES: Final = ("time_ms", "device_time_ms", "host_time_ms", "floor_time_ms")


class Sweep(Mapping[str, Array]):
    """Columns by name: the dimensions that were swept, then what scenarios come to."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> Array:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def rows(self) -> int:
        """How many scenarios."""
        return len(next(iter(self._columns.values())))

    def to_pandas(self) -> Any:
        """Return a pandas data frame; needs pandas."""
        import pandas

        return pandas.DataFrame(self._columns)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file; needs pyarrow."""
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(self._columns), path)


def rows(
    model: str = "deepseek-ocr-v1-base",
    workload: str = "dsocr-standard-v1",
    hardware: Any = "rtx-5090",
    **dimensions: Any,
) -> Sweep:
    """Evaluate scenarios that are given one by one.

    Parameters
    ----------
    model, workload
        Ids or paths; the workload says what is not swept.
    hardware
        Id or path of a profile, or one for each row.
    dimensions
        One value or an array, all of one length, by name: every dimension of a workload, and
        the numbers of :data:`mkdocs_dsocr.sweep.columns.RATES` in place of the profile's.

    Returns
    -------
    A column for each dimension given, then totals of stages and model, memory and times.
    Times are NaN where a GPU's tensor cores do not know a format.

    Raises
    ------
    InputError
        If there is no such dimension, or a value is not allowed.
    OverflowError
        If an integer does not fit 64 bits.
    """
    given = {name: checked(name, values) for name, values in dimensions.items()}
    ids = np.atleast_1d(np.asarray(hardware))
    count = max((len(v) for v in (*given.values(), ids)), default=1)
    for name, values in (*given.items(), ("hardware", ids)):
        if len(values) not in (1, count):
            raise InputError("sweep", name, f"{len(values):,} values", f"1 or {count:,}")
    names, places = np.unique(ids, return_inverse=True)
    gpus = profiles(names.tolist())
    config, base = _model(model, workload)
    full = {k: np.broadcast_to(v, count) for k, v in (base | given).items()}
    places = np.broadcast_to(places, count)
    columns: list[Columns] = []
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        dims = {k: v[part] for k, v in full.items() if k in WORKLOAD}
        own = {k: full[k][part] for k in HARDWARE if k in full}
        size = part.stop - part.start
        rates = Rates([gpus[p] for p in places[part].tolist()], own)
        found = work(config, dims, size)
        shown = {k: full[k][part] for k in given} | {
            "hardware": ids[part] if len(ids) > 1 else np.broadcast_to(ids, size)
        }
        columns.append(_columns(shown, found, rates, np.arange(size)))
    return Sweep({k: np.concatenate([c[k] for c in columns]) for k in columns[0]})


def grid(
    model: str = "deepseek-ocr-v1-base",
    workload: str = "dsocr-standard-v1",
    hardware: Any = "rtx-5090",
    **dimensions: Any,
) -> Sweep:
    """Evaluate every combination of the values of several dimensions; see :func:`rows`.

    The last dimension changes first, and the hardware's are last.
    """
    parts = list(grid_chunks(model, workload, hardware, **dimensions))
    return Sweep({k: np.concatenate([p[k] for p in parts]) for k in parts[0]})


def grid_chunks(
    model: str = "deepseek-ocr-v1-base",
    workload: str = "dsocr-standard-v1",
    hardware: Any = "rtx-5090",
    **dimensions: Any,
) -> Iterator[Sweep]:
    """Yield the rows of :func:`grid` in pieces that fit memory, however many there are."""
    given = {name: checked(name, values) for name, values in dimensions.items()}
    ids = np.atleast_1d(np.asarray(hardware))
    config, base = _model(model, workload)
    outer = {k: v for k, v in given.items() if k in WORKLOAD}
    inner: Columns = {"hardware": np.arange(len(ids))}
    inner |= {k: v for k, v in given.items() if k in HARDWARE}
    gpus = profiles(ids.tolist())
    cells = _product(inner, 0, size(inner))
    rates = Rates(
        [gpus[p] for p in cells["hardware"].tolist()],
        {k: v for k, v in cells.items() if k != "hardware"},
    )
    cells["hardware"] = ids[cells["hardware"]]
    width, total = len(cells["hardware"]), size(outer)
    step = max(1, CHUNK // width)
    for start in range(0, total, step):
        stop = min(start + step, total)
        chosen = _product(outer, start, stop)
        count = stop - start
        dims = {k: np.broadcast_to(v, count) for k, v in (base | chosen).items()}
        found = work(config, dims, count)
        pieces = [
            _columns(
                {**chosen, **{k: np.broadcast_to(v[i], count) for k, v in cells.items()}},
                found,
                rates,
                i,
            )
            for i in range(width)
        ]
        yield Sweep({k: np.stack([p[k] for p in pieces], axis=1).reshape(-1) for k in pieces[0]})


def size(dimensions: Mapping[str, Array]) -> int:
    """Return how many combinations there are."""
    return math.prod(len(values) for values in dimensions.values())


def _product(dimensions: Mapping[str, Array], start: int, stop: int) -> Columns:
    """Return some of all combinations, the last dimension changing first."""
    index = np.arange(start, stop)
    result: Columns = {}
    for name, values in reversed(dimensions.items()):
        index, place = np.divmod(index, len(values))
        result[name] = values[place]
    return {name: result[name] for name in dimensions}


def _model(model: str, workload: str) -> tuple[ModelConfig, Columns]:
    config = load_model_config(model)
    base = defaults(plan(config, load_workload(workload), workload))
    return config, {name: checked(name, value) for name, value in base.items()}


def _columns(shown: Columns, found: Work, rates: Rates, gpu: Any) -> Columns:
    result = {k: _words(k, v) for k, v in shown.items()}
    by_stage = times(found, rates, gpu)
    for name in COUNTS:
        for stage in STAGES:
            result[f"{stage}_{name}"] = found.counts[stage][name]
        result[name] = sum(found.counts[s][name] for s in STAGES)  # type: ignore[assignment]
    for name in TIMES:
        for stage in STAGES:
            result[f"{stage}_{name}"] = by_stage[stage][name]
        if name in ("time_ms", "floor_time_ms"):
            result[name] = sum(by_stage[s][name] for s in STAGES)  # type: ignore[assignment]
    result |= found.memory
    result["fits"] = found.memory["footprint_bytes"] <= rates.capacity[gpu]
    result["pages_per_s"] = 1000 * found.pages / result["time_ms"]
    return result


def _words(name: str, values: Array) -> Array:
    return np.array(allowed(name))[values] if name in CHOICES else values
