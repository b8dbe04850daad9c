"""What the pages show of a workload when one thing changes: tables, plots, CSV files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.memory import fitting
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.frame import Axis
from mkdocs_dsocr.site.plots import Series, plot
from mkdocs_dsocr.sweep import studies
from mkdocs_dsocr.sweep.studies import Table

INPUTS: Final = studies.RATES | {
    "text_tokens": "text tokens of the prompt",
    "max_new_tokens": "new tokens a page",
    "batch_size": "pages in a batch",
}
"""The inputs of a sensitivity, in words."""


@dataclass(frozen=True)
class Row:
    """A GPU beside others.

    Attributes
    ----------
    analysis
        The workload on it; None where its tensor cores do not know a format.
    batch
        The largest batch that fits, 0 where none does.
    pages_per_s
        What it makes of that batch.
    """

    hardware: Hardware
    analysis: Analysis | None
    batch: int
    pages_per_s: float


class Studies:
    """Tables of a main analysis in which one thing changes.

    Parameters
    ----------
    main
        The analysis.
    tables
        What :func:`tables` made of it.
    """

    def __init__(self, main: Analysis, tables: dict[str, Table]) -> None:
        self._main = main
        self.grids, self.contexts, self.batches = (tables[k] for k in ("grid", "context", "batch"))
        self.sensitivity, self._levers, self._gpus = (tables[k] for k in ("input", "lever", "gpu"))

    @property
    def levers(self) -> list[tuple[str, float]]:
        """Changes that a workload can choose, and by how much each multiplies the pages."""
        columns = (self._levers[name].tolist() for name in ("lever", "times"))
        return list(zip(*columns, strict=True))

    def compared(self, gpus: Sequence[Hardware]) -> list[Row]:
        """Return every GPU with the main workload on it, the most pages a second first."""
        rows = []
        columns = (self._gpus[name].tolist() for name in ("fits", "pages_per_s"))
        for gpu, batch, rate in zip(gpus, *columns, strict=True):
            is_known = not math.isnan(rate)
            other = dataclasses.replace(self._main, hardware=gpu, measurement=None)
            rows.append(Row(gpu, other if is_known else None, batch, rate if batch else 0.0))
        return sorted(rows, key=lambda r: -(r.pages_per_s if r.analysis else -1))

    @property
    def sensitivity_rows(self) -> list[dict[str, Any]]:
        """The inputs in words, those first that move a figure most."""
        names = [name for name in self.sensitivity if name not in ("input", "value")]
        rows = [
            {"input": INPUTS[name], "value": value, "shares": dict(zip(names, shares, strict=True))}
            for name, value, *shares in zip(
                self.sensitivity["input"].tolist(),
                self.sensitivity["value"].tolist(),
                *(self.sensitivity[name].tolist() for name in names),
                strict=True,
            )
        ]
        return sorted(rows, key=lambda row: -max(abs(s) for s in row["shares"].values()))

    def files(self) -> dict[str, str]:
        """Return the tables as CSV files, by name."""
        return {
            f"by_{name}.csv": _csv(table)
            for name, table in (
                ("grid", self.grids),
                ("context", self.contexts),
                ("batch", self.batches),
                ("input", self.sensitivity),
            )
        }

    def by_grid(self, label: str, write: Callable[[float], str], *columns: str) -> Markup:
        """Return a plot over the number of local views."""
        table = self.grids
        # Of grids of as many views the widest: it stands last.
        rows = list({tiles: i for i, tiles in enumerate(table["tiles"].tolist())}.values())
        xs = [float(table["tiles"][i]) for i in rows]
        series = [Series(_in_words(c), [float(table[c][i]) for i in rows]) for c in columns]
        return plot(
            f"{label} by local views",
            Axis("local views", units.scaled_count),
            Axis(label, write),
            xs,
            series,
        )

    def by_context(self) -> Markup:
        """Return a plot of the time per output token over the context."""
        table = self.contexts
        step = Series("time per output token", table["tpot_ms"].tolist())
        device = Series("of it, the device alone", table["decode_device_time_ms"].tolist())
        axes = (Axis("context, tokens", units.scaled_count), Axis("time", units.milliseconds))
        return plot(
            "Time per output token by context", *axes, table["context"].tolist(), [step, device]
        )

    def by_batch(self, label: str, write: Callable[[float], str], *columns: str) -> Markup:
        """Return a plot over the pages in a batch, with the memory wall."""
        table = self.batches
        series = [Series(_in_words(c), table[c].tolist()) for c in columns]
        axes = (Axis("pages at once", units.scaled_count), Axis(label, write))
        fits = self._main.largest_batch
        wall = (float(fits), f"memory wall: {fits:,}") if fits else None
        return plot(f"{label} by pages at once", *axes, table["batch_size"].tolist(), series, wall)


WORDS: Final = {
    "image_tokens": "image tokens",
    "tensor_core_flops": "tensor-core FLOPs",
    "io_bytes": "bytes moved",
    "kvcache_bytes": "KV cache",
    "activation_bytes": "peak activations",
    "footprint_bytes": "memory needed",
    "ttft_ms": "time to first token",
    "tpot_ms": "time per output token",
    "tokens_per_s": "output tokens a second",
}


def _in_words(column: str) -> str:
    return WORDS.get(column, column)


def tables(main: Analysis, gpus: Sequence[Hardware]) -> dict[str, Table]:
    """Return the tables of an analysis, and one with a row for each GPU, by name.

    Raises
    ------
    OverflowError
        If the workload alone needs more than 64 bits.
    """
    given = (main.config, main.plan)
    needed = main.footprints(max(h.memory_gb for h in gpus))
    fits = [fitting(needed, gpu.memory_gb) or 0 for gpu in gpus]
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
    columns: list[list[Any]] = [column.tolist() for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()
