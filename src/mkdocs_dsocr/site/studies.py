"""The tables in which one thing of the main workload changes, and their CSV files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.memory import fitting
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.sweep import studies
from mkdocs_dsocr.sweep.studies import Table

COLUMNS: Final = {
    "grid": {*studies.LATENCIES, "tiles", "tiles_w", "tiles_h"},
    "context": {*studies.LATENCIES, "context"},
    "batch": {
        *studies.LATENCIES,
        *("batch_size", "tokens_per_s"),
        *(f"ttft_needs_{name}" for name in ("tflops", "gb_s", "dispatch_us")),
        *(f"tpot_needs_{name}" for name in ("gb_s", "dispatch_us")),
    },
    "input": {
        *("input", "value"),
        *(f"{name}_{side}" for name in studies.MOVED for side in ("below", "above")),
    },
    "lever": {"lever", "times", "times_slow"},
    "gpu": {"fits", "pages_per_s"},
}
"""The columns that each table has at least."""
BY_SIZE: Final = ("grid", "context", "batch")
"""Tables that have at least a row."""
NAMES: Final = {"input": {*studies.RATES, *studies.SIZES}, "lever": {*studies.LEVERS}}
"""The columns of names whose values are known."""


@dataclass(frozen=True)
class Row:
    """A GPU compared with others.

    Attributes
    ----------
    analysis
        The workload on it; None if its tensor cores do not support a format of the workload.
    batch
        The largest batch that fits, 0 if none does.
    pages_per_s
        Its rate with that batch.
    """

    hardware: Hardware
    analysis: Analysis | None
    batch: int
    pages_per_s: float

    @property
    def binding(self) -> str:
        """What binds the stage that takes longest."""
        times = self.analysis.stage_times.values() if self.analysis else ()
        return max(times, key=lambda t: t.time_ms).binding


class Studies:
    """Tables of a main analysis in which one thing changes.

    Parameters
    ----------
    main
        The analysis.
    found
        What :func:`tables` returned for it.
    """

    def __init__(self, main: Analysis, found: Mapping[str, Table]) -> None:
        self._main, self._found = main, found

    @property
    def grids(self) -> Table:
        """A row for each grid of local views."""
        return self._found["grid"]

    @property
    def contexts(self) -> Table:
        """A row for each length of the context of one decode step."""
        return self._found["context"]

    @property
    def batches(self) -> Table:
        """A row for each batch."""
        return self._found["batch"]

    @property
    def sensitivity(self) -> Table:
        """A row for each input that is changed."""
        return self._found["input"]

    @property
    def levers(self) -> list[tuple[str, float, float]]:
        """Changes of the workload, and the factors by which each multiplies the pages per second.

        The second factor is that of the slowest CPU that was measured.
        """
        columns = (self._found["lever"][name].tolist() for name in ("lever", "times", "times_slow"))
        return list(zip(*columns, strict=True))

    def compared(self, gpus: Sequence[Hardware]) -> list[Row]:
        """Return every GPU with the main workload on it, the most pages per second first."""
        rows = []
        columns = (self._found["gpu"][name].tolist() for name in ("fits", "pages_per_s"))
        for gpu, batch, rate in zip(gpus, *columns, strict=True):
            is_known = not math.isnan(rate)
            other = dataclasses.replace(self._main, hardware=gpu, measurement=None)
            rows.append(Row(gpu, other if is_known else None, batch, rate if batch else 0.0))
        return sorted(rows, key=lambda r: -(r.pages_per_s if r.analysis else -1))

    def files(self) -> dict[str, str]:
        """Return the tables as CSV files, by name."""
        return {
            "by_grid.csv": _csv(self.grids),
            "by_context.csv": _csv(self.contexts),
            "by_batch.csv": _csv(self.batches),
            "by_input.csv": _csv(self.sensitivity),
        }


class LazyTables(Mapping[str, Table]):
    """Tables by name, each made when it is first asked for.

    Parameters
    ----------
    makers
        What makes each.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Table]]) -> None:
        self._makers, self._made = makers, dict[str, Table]()

    def __getitem__(self, name: str) -> Table:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def tables(main: Analysis, gpus: Sequence[Hardware]) -> Mapping[str, Table]:
    """Return the tables of an analysis, and one with a row for each GPU, by name.

    Each is made when it is asked for, which raises an OverflowError if the workload alone needs
    more than 64 bits.
    """
    given = (main.config, main.plan)
    of_main: dict[str, Callable[..., Table]] = {
        "grid": studies.by_grid,
        "context": studies.by_context,
        "batch": studies.by_batch,
        "input": studies.sensitivity,
        "lever": studies.levers,
    }
    makers = {name: partial(make, *given, main.hardware) for name, make in of_main.items()}
    return LazyTables({**makers, "gpu": partial(_by_gpu, main, gpus)})


def _by_gpu(main: Analysis, gpus: Sequence[Hardware]) -> Table:
    """Return the largest batch that fits each GPU, and the pages per second with it."""
    needed = main.footprints(max(h.room_bytes for h in gpus))
    fits = [fitting(needed, gpu.room_bytes) or 0 for gpu in gpus]
    found = studies.by_gpu(main.config, main.plan, gpus, [max(n, 1) for n in fits])
    return {"fits": np.array(fits), "pages_per_s": found["pages_per_s"]}


def as_lists(found: Mapping[str, Table]) -> dict[str, dict[str, list[Any]]]:
    """Return tables as JSON holds them."""
    return {
        name: {k: column.tolist() for k, column in table.items()} for name, table in found.items()
    }


def as_tables(content: Any, gpus: int) -> dict[str, Table]:
    """Return the tables that :func:`as_lists` turned into lists.

    Raises
    ------
    ValueError
        If tables, columns or rows are missing, or a column is neither of numbers nor of the names
        that it may have.
    """
    if not isinstance(content, dict) or content.keys() != COLUMNS.keys():
        raise ValueError("other tables")
    found: dict[str, Table] = {}
    for name, columns in content.items():
        if not isinstance(columns, dict) or not columns.keys() >= COLUMNS[name]:
            raise ValueError(f"{name}: columns are missing")
        found[name] = {key: np.array(column) for key, column in columns.items()}
        for key, column in found[name].items():
            names = NAMES.get(key)
            if column.shape != next(iter(found[name].values())).shape or column.ndim != 1:
                raise ValueError(f"{name}.{key}: rows are missing")
            if names is not None and not names.issuperset(column.tolist()):
                raise ValueError(f"{name}.{key}: unknown names")
            if names is None and column.dtype.kind not in "biuf" and key != "hardware":
                raise ValueError(f"{name}.{key}: no numbers")
    if len(found["gpu"]["fits"]) != gpus or not all(found[n]["fits"].size for n in BY_SIZE):
        raise ValueError("rows are missing")
    return found


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return out.getvalue()
