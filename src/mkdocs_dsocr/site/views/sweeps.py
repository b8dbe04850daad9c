"""The pages of plots: the main workload with one thing changed at a time, models compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.report.models import GROWING, LENGTHS, ModelsCompared
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.plots import Series, Wall, plot
from mkdocs_dsocr.sweep import studies
from mkdocs_dsocr.sweep.studies import Table

INPUTS: Final = studies.RATES | {
    "text_tokens": "text tokens of the prompt",
    "max_new_tokens": "new tokens",
    "batch_size": "batch",
}
"""The inputs of a sensitivity, in words."""
UNITS: Final = {
    "tensor_tflops": "TFLOPS",
    "cuda_tflops": "TFLOPS",
    "bandwidth_gb_s": "GB/s",
    "dispatch_us": "µs",
    "synchronise_us": "µs",
    "text_tokens": "tokens",
    "max_new_tokens": "tokens",
    "batch_size": "sequences",
}
LINES: Final = {
    "image_tokens": "image tokens",
    "tensor_core_flops": "tensor-core FLOPs",
    "io_bytes": "bytes moved",
    "kvcache_bytes": "KV cache",
    "activation_bytes": "peak activations",
    "footprint_bytes": "memory needed",
    "ttft_ms": "time to first token",
    "tpot_ms": "time per output token",
    "decode_device_time_ms": "of it, GPU",
    "tokens_per_s": "output tokens per second",
}
"""The columns that are plotted, in words."""
MOST_IN_TIME: Final = 1024
"""The largest batch up to which the requirements of a latency target are shown."""


def sweeps(site: Site, links: Links) -> dict[str, Any]:
    """Return the plots over grid, context and batch, and the rows of the tables."""
    found = site.studies
    assert found is not None  # the site has no such page otherwise
    tiles = found.grids["tiles"].tolist()
    # Of several grids with the same number of views the widest is plotted: it is the last.
    widest = list({number: row for row, number in enumerate(tiles)}.values())
    grids = {name: column[widest] for name, column in found.grids.items()}
    fits = site.main.largest_batch
    wall = (float(fits), f"largest batch: {fits:,}") if fits else None
    unit = site.main.plan.unit
    over_grid = partial(_plot, grids, "tiles", "local views")
    over_context = partial(_plot, found.contexts, "context", "context, tokens")
    over_batch = partial(_plot, found.batches, "batch_size", f"batch, {unit}s", wall=wall)
    ms, size = units.milliseconds, units.bytes_
    return {
        "by_grid": [
            over_grid(f"tokens per {unit}", units.scaled_count, "image_tokens"),
            over_grid("FLOPs", units.flops, "tensor_core_flops"),
            over_grid("bytes", size, "io_bytes"),
            over_grid("memory", size, "kvcache_bytes", "activation_bytes", "footprint_bytes"),
            over_grid("time", ms, "ttft_ms"),
        ],
        "by_context": [
            over_context("time per output token", ms, "tpot_ms", "decode_device_time_ms")
        ],
        "by_batch": [
            over_batch("output tokens per second", units.significant, "tokens_per_s"),
            over_batch("time per output token", ms, "tpot_ms"),
            over_batch("time to first token", ms, "ttft_ms"),
            over_batch("memory", size, "footprint_bytes", "kvcache_bytes", "activation_bytes"),
        ],
        "in_time": [i for i, n in enumerate(found.batches["batch_size"]) if n <= MOST_IN_TIME],
        "sensitivity": _sensitivity(found.sensitivity),
        "study": studies,
        "tile_size": site.model.tile_size,
    }


def _plot(
    table: Table,
    over: str,
    label: str,
    name: str,
    write: Callable[[float], str],
    *columns: str,
    wall: Wall | None = None,
) -> Markup:
    """Return columns of a table over another column of it."""
    axes = (svg.Axis(label, units.scaled_count), svg.Axis(name, write))
    series = [Series(LINES[c], [float(v) for v in table[c]]) for c in columns]
    title = f"{name} by {label.partition(',')[0]}"
    return plot(title, *axes, [float(v) for v in table[over]], series, wall)


def _sensitivity(table: Table) -> list[tuple[str, str, list[float]]]:
    """Return input, value with unit, and changes of each row, the largest change first."""
    columns = {name: column.tolist() for name, column in table.items()}
    inputs, values = columns.pop("input"), columns.pop("value")
    rows = [
        (INPUTS[name], f"{units.significant(value)} {UNITS[name]}", list(shares))
        for name, value, *shares in zip(inputs, values, *columns.values(), strict=True)
    ]
    return sorted(rows, key=lambda row: -max(map(abs, row[2])))


def models(site: Site, links: Links) -> dict[str, Any]:
    """Return the plots over the length of the output, and models with fewer positions."""
    assert site.models is not None  # the site has no such page otherwise
    limits = [
        (a.config.variant, a.config.language.max_position_embeddings, a.plan.seq_len + LENGTHS[-1])
        for a in site.models.analyses
    ]
    return {
        "plots": list(_growing(site.models)),
        "positions": [(title, limit) for title, limit, longest in limits if longest > limit],
    }


def _growing(compared: ModelsCompared) -> Iterator[Markup]:
    axis = svg.Axis("new tokens", units.scaled_count)
    for section, (kind, _) in GROWING.items():
        rows = [row for row in compared.sections[section] if None not in row.values]
        lines = [
            Series(title, [row.values[i] for row in rows])  # type: ignore[misc]
            for i, title in enumerate(compared.titles)
        ]
        yield plot(
            section, axis, svg.Axis(section, units.WRITERS[kind]), LENGTHS[: len(rows)], lines
        )
