"""The main workload in a serving engine: its steady state, and GPUs for pages per day."""

from __future__ import annotations

from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.serving import ASSUMPTIONS
from mkdocs_dsocr.serving.planning import ENGINE_ERROR, LIMITS, Engines, Target, rate_error
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.plots import Series, plot
from mkdocs_dsocr.text import printable

PLANNED: Final = 1_000_000
"""Pages per day of the table in a page without scripts."""
PAGES_PER_DAY: Final = (10_000, 100_000, 1_000_000, 10_000_000, 33_000_000)
"""The last is the paper's: 20 nodes of 8 GPUs."""


def engine(site: Site) -> dict[str, Any]:
    """Return the steady state at each concurrency, assumptions and fleets.

    The key ``engine`` is None where the main workload cannot run in an engine.
    """
    main = site.main
    try:
        engines = Engines(main.config, main.workload, [main.hardware])
    except InputError as error:
        return {"engine": None, "engine_refused": str(error)}
    [memory], state = engines.memory, engines.steady
    rows = [
        {
            "concurrency": count,
            "pages_per_s": pages,
            "tokens_per_s": pages * engines.steps.new,
            "ttft_ms": ttft,
            "tpot_ms": tpot,
            "kv_share": float(state.cached_tokens[i] / memory.tokens),
        }
        for i, (count, pages, ttft, tpot, _) in enumerate(engines.table(0))
        if count & (count - 1) == 0 or count == memory.largest
    ]
    serving = engines.steps.serving
    return {
        "engine": rows,
        "engine_memory": memory,
        "engine_plots": [
            _plot(rows, "pages per second", "pages_per_s", units.significant),
            _plot(rows, "mean time per output token", "tpot_ms", units.milliseconds),
        ],
        "fleets": [(pages, engines.fleets(Target(pages))[0]) for pages in PAGES_PER_DAY],
        "assumed": [(name, value, ASSUMPTIONS[name]) for name, value in serving],
    }


def decision(site: Site) -> dict[str, Any]:
    """Return the fleets for :data:`PLANNED`, and what a script needs for others.

    The key ``engines`` is None where the main workload cannot run in an engine.
    """
    main = site.main
    try:
        engines = Engines(main.config, main.workload, site.gpus)
    except InputError:
        return {"engines": None}
    rows = [
        {
            "id": gpu.hardware_id,
            "name": printable(gpu.name),
            "usd": gpu.board and gpu.board.usd_per_hour,
            "watts": gpu.board and gpu.board.power_w,
            "error": rate_error(gpu),
            "rows": [
                [*map(_short, row), LIMITS.index(word)] for *row, word in engines.table(index)
            ],
            "why": engines.missing(index),
        }
        for index, gpu in enumerate(engines.gpus)
    ]
    return {
        "engines": rows,
        "engine_limits": LIMITS,
        "planned": PLANNED,
        "engine_error": ENGINE_ERROR,
        "planned_fleets": engines.fleets(Target(PLANNED)),
        "gpu_names": {gpu.hardware_id: gpu.name for gpu in engines.gpus},
    }


def _short(value: float | None) -> float | None:
    """Return a number with the digits that a page needs."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _plot(rows: list[dict[str, Any]], name: str, column: str, write: Any) -> Markup:
    """Return a column over the concurrency."""
    axes = svg.Axis("sequences at once", units.scaled_count), svg.Axis(name, write)
    values = [row[column] or 0.0 for row in rows]
    counts = [float(row["concurrency"]) for row in rows]
    return plot(f"{name} by concurrency", *axes, counts, [Series(name, values)])
