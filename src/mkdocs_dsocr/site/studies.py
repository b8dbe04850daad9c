"""The tables in which one thing of the main workload changes, and their CSV files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mkdocs_dsocr.cost.memory import fitting
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.sweep import studies
from mkdocs_dsocr.sweep.studies import Table


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

    def __init__(self, main: Analysis, found: dict[str, Table]) -> None:
        self._main = main
        self.grids, self.contexts, self.batches = (found[k] for k in ("grid", "context", "batch"))
        self.sensitivity, self._levers, self._gpus = (found[k] for k in ("input", "lever", "gpu"))

    @property
    def levers(self) -> list[tuple[str, float]]:
        """Changes of the workload, and the factor by which each multiplies the pages per second."""
        columns = (self._levers[name].tolist() for name in ("lever", "times"))
        return list(zip(*columns, strict=True))

    def compared(self, gpus: Sequence[Hardware]) -> list[Row]:
        """Return every GPU with the main workload on it, the most pages per second first."""
        rows = []
        columns = (self._gpus[name].tolist() for name in ("fits", "pages_per_s"))
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


def tables(main: Analysis, gpus: Sequence[Hardware]) -> dict[str, Table]:
    """Return the tables of an analysis, and one with a row for each GPU, by name.

    Raises
    ------
    OverflowError
        If the workload alone needs more than 64 bits.
    """
    given = (main.config, main.plan)
    needed = main.footprints(max(h.room_bytes for h in gpus))
    fits = [fitting(needed, gpu.room_bytes) or 0 for gpu in gpus]
    rate = studies.by_gpu(*given, gpus, [max(n, 1) for n in fits])["pages_per_s"]
    return {
        "grid": studies.by_grid(*given, main.hardware),
        "context": studies.by_context(*given, main.hardware),
        "batch": studies.by_batch(*given, main.hardware),
        "input": studies.sensitivity(*given, main.hardware),
        "lever": studies.levers(*given, main.hardware),
        "gpu": {"fits": np.array(fits), "pages_per_s": rate},
    }


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return out.getvalue()
