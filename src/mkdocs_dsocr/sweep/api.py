"""Grids and rows of scenarios, and what becomes of their columns."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    load_workload,
)
from mkdocs_dsocr.models import Plan, load_model_config, plan
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD
from mkdocs_dsocr.sweep.columns import (
    CHOICES,
    HARDWARE,
    WORKLOAD,
    Array,
    Rates,
    by_code,
    checked,
    complete,
    defaults,
    profiles,
)
from mkdocs_dsocr.sweep.scenarios import Columns, Passes, evaluated

CHUNK: Final = 1 << 17
"""Rows that are evaluated at once."""
CELLS: Final = 1 << 18
"""Scenarios of a grid that are evaluated at once."""
WIDEST: Final = 64
"""GPUs that are evaluated at once."""


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
        return importlib.import_module("pandas").DataFrame(self._columns)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file; needs pyarrow."""
        table = importlib.import_module("pyarrow").table(self._columns)
        importlib.import_module("pyarrow.parquet").write_table(table, path)


def rows(
    model: str = DEFAULT_MODEL,
    workload: str = DEFAULT_WORKLOAD,
    hardware: Any = DEFAULT_HARDWARE,
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
    names, places = _distinct(hardware)
    loaded = profiles(names.tolist())
    config = load_model_config(model)
    planned = plan(config, load_workload(workload), workload)
    return rows_of(config, planned, loaded, places, **dimensions)


def rows_of(
    config: ModelConfig,
    planned: Plan,
    gpus: Sequence[Hardware],
    places: Array | None = None,
    passes: Passes | None = None,
    **dimensions: Any,
) -> Sweep:
    """Evaluate scenarios of inputs that are loaded; see :func:`rows`.

    Parameters
    ----------
    config, planned
        The model, and the workload that says what is not swept.
    gpus, places
        GPUs, and which of them each row has; where not given, there is one, or one for each row.
    passes
        What runs of a batch of pages; all of the model's passes where not given.
    dimensions
        As for :func:`rows`.
    """
    given = {name: checked(name, values) for name, values in dimensions.items()}
    places = np.arange(len(gpus)) if places is None else places
    count = max((len(v) for v in (*given.values(), places)), default=1)
    for name, values in (*given.items(), ("hardware", places)):
        if len(values) not in (1, count):
            raise InputError("sweep", name, f"{len(values):,} values", f"1 or {count:,}")
    full = complete(given, _base(planned), count)
    places = np.broadcast_to(places, count)
    ids = np.array([gpu.hardware_id for gpu in gpus])
    pieces = _Pieces(count)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        cut = {k: v[part] for k, v in full.items()}
        own = {k: cut[k] for k in WORKLOAD}
        rates = Rates(gpus, places[part], {k: v for k, v in cut.items() if k in HARDWARE})
        every = np.arange(part.stop - start)
        found = evaluated(config, planned.workload, own, rates, every, passes)
        shown = {k: cut[k] for k in given} | {"hardware": ids[places[part]]}
        pieces.add(start, _in_words(shown) | found)
    return Sweep(pieces.columns)


def grid(
    model: str = DEFAULT_MODEL,
    workload: str = DEFAULT_WORKLOAD,
    hardware: Any = DEFAULT_HARDWARE,
    **dimensions: Any,
) -> Sweep:
    """Evaluate every combination of the values of several dimensions; see :func:`rows`.

    The hardware's dimensions change last, the last of the others first.
    """
    given = _Grid(model, workload, hardware, dimensions)
    pieces = _Pieces(given.width * given.count)
    for index, columns in given.evaluated():
        pieces.add(index, columns)
    return Sweep(pieces.columns)


def grid_chunks(
    model: str = DEFAULT_MODEL,
    workload: str = DEFAULT_WORKLOAD,
    hardware: Any = DEFAULT_HARDWARE,
    *,
    base: Path | None = None,
    **dimensions: Any,
) -> Iterator[Sweep]:
    """Yield the rows of :func:`grid` in pieces that fit memory, however many there are.

    A piece is of one GPU where there are more workloads than a piece has rows. Pieces of several
    GPUs may have columns in common. Paths are relative to the folder `base`, or else to the working
    directory.
    """
    given = _Grid(model, workload, hardware, dimensions, base)
    return (Sweep(columns) for _, columns in given.evaluated())


class _Grid:
    """Every combination of workloads (`count` of them) and of GPUs (`width`)."""

    def __init__(
        self,
        model: str,
        workload: str,
        hardware: Any,
        dimensions: Mapping[str, Any],
        base: Path | None = None,
    ) -> None:
        given = {name: checked(name, values) for name, values in dimensions.items()}
        names, places = _distinct(hardware)
        self._gpus = profiles(names.tolist(), base=base)
        self._ids = names
        self._config = load_model_config(model, base)
        self._plan = plan(self._config, load_workload(workload, base), workload)
        self._base = _base(self._plan)
        self._outer = {k: v for k, v in given.items() if k in WORKLOAD}
        self._inner = {"hardware": places} | {k: v for k, v in given.items() if k in HARDWARE}
        self.count, self.width = size(self._outer), size(self._inner)

    def evaluated(self) -> Iterator[tuple[int, Columns]]:
        """Yield the columns of some workloads on one or several GPUs, and their first index.

        On several only where they are all workloads.
        """
        most = max(CELLS // min(self.width, WIDEST), 1)
        for start in range(0, self.count, most):
            count = min(most, self.count - start)
            chosen = _product(self._outer, start, start + count)
            for first in range(0, self.width, WIDEST):
                cells = _product(self._inner, first, min(first + WIDEST, self.width))
                found = self._on(cells, chosen, count)
                width = len(cells["hardware"])
                if count == self.count:
                    all_rows = {k: np.broadcast_to(v, (width, count)) for k, v in found.items()}
                    yield first * count, {k: v.reshape(-1) for k, v in all_rows.items()}
                    continue
                for gpu in range(width):
                    row = {k: v[gpu] if v.ndim == 2 else v for k, v in found.items()}
                    index = (first + gpu) * self.count + start
                    yield index, {k: np.broadcast_to(v, count) for k, v in row.items()}

    def _on(self, cells: Columns, chosen: Columns, count: int) -> Columns:
        """Return dimensions and figures of workloads on GPUs: by row, ``[GPU, row or 1]``."""
        dims = complete(chosen, self._base, count)
        places = cells["hardware"]
        own = {k: v for k, v in cells.items() if k != "hardware"}
        rates, every = Rates(self._gpus, places, own), np.arange(len(places))[:, None]
        found = evaluated(self._config, self._plan.workload, dims, rates, every)
        shown = {k: v[:, None] for k, v in {**own, "hardware": self._ids[places]}.items()}
        return shown | _in_words(chosen) | found


def _distinct(hardware: Any) -> tuple[Array, Array]:
    """Return the distinct ids and paths, and which of them each given one is.

    Raises
    ------
    InputError
        If one is not text.
    """
    ids = np.atleast_1d(np.asarray(hardware))
    for value in ids.ravel().tolist():
        if not isinstance(value, str):
            found = f"a value of the type {type(value).__name__}"
            raise InputError("sweep", "hardware", found, "ids of profiles, or paths, as text")
    return np.unique(ids, return_inverse=True)


class _Pieces:
    """Columns that are filled piece by piece."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.columns: Columns = {}

    def add(self, start: int, piece: Columns) -> None:
        for name, values in piece.items():
            if name not in self.columns:
                dtype = values.dtype if values.dtype.kind != "U" else object
                self.columns[name] = np.empty(self._rows, dtype)
            self.columns[name][start : start + len(values)] = values


def size(dimensions: Mapping[str, Array]) -> int:
    """Return how many combinations there are."""
    return math.prod(len(values) for values in dimensions.values())


def _product(dimensions: Mapping[str, Array], start: int, stop: int) -> Columns:
    """Return some of all combinations, the last dimension changing first."""
    index = np.arange(start, stop)
    result: Columns = {}
    for name, values in reversed(list(dimensions.items())):
        index, place = np.divmod(index, len(values))
        result[name] = values[place]
    return {name: result[name] for name in dimensions}


def _base(planned: Plan) -> Columns:
    return {name: checked(name, value) for name, value in defaults(planned).items()}


def _in_words(shown: Columns) -> Columns:
    """Return dimensions with the names of choices in place of their codes."""
    return {k: np.array(by_code(k))[v] if k in CHOICES else v for k, v in shown.items()}
