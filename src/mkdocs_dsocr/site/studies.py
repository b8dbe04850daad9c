"""What the pages show of a workload when one thing changes: tables, plots, CSV files."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.memory import fitting
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.plots import Axis, Series, plot
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
    """The tables of a main analysis; each is made once."""

    def __init__(self, main: Analysis) -> None:
        self._main = main
        self._given = (main.config, main.plan)

    @cached_property
    def grids(self) -> Table:
        return studies.by_grid(*self._given, self._main.hardware)

    @cached_property
    def contexts(self) -> Table:
        return studies.by_context(*self._given, self._main.hardware)

    @cached_property
    def batches(self) -> Table:
        return studies.by_batch(*self._given, self._main.hardware)

    @cached_property
    def sensitivity(self) -> Table:
        return studies.sensitivity(*self._given, self._main.hardware)

    @cached_property
    def levers(self) -> dict[str, float]:
        return studies.levers(*self._given, self._main.hardware)

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


def compared(site_gpus: list[Hardware], main: Analysis) -> list[Row]:
    """Return every GPU with the main workload on it, the most pages a second first."""
    needed = main.footprints(max(h.memory_gb for h in site_gpus))
    fits = [fitting(needed, gpu.memory_gb) or 0 for gpu in site_gpus]
    table = studies.by_gpu(main.config, main.plan, site_gpus, [max(n, 1) for n in fits])
    rows = [
        Row(
            gpu,
            dataclasses.replace(main, hardware=gpu, measurement=None)
            if not math.isnan(rate)
            else None,
            batch,
            rate if batch else 0.0,
        )
        for gpu, batch, rate in zip(site_gpus, fits, table["pages_per_s"].tolist(), strict=True)
    ]
    return sorted(rows, key=lambda r: -(r.pages_per_s if r.analysis else -1))


def studies_of(main: Analysis) -> Studies:
    """Return the tables of an analysis: the same object as long as its inputs are the same."""
    # What a trace or a measurement adds changes no table.
    return _studies_of(dataclasses.replace(main, traced=None, measurement=None))


@lru_cache(maxsize=2)
def _studies_of(main: Analysis) -> Studies:
    return Studies(main)


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    columns: list[list[Any]] = [column.tolist() for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()
