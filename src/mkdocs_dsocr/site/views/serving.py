"""The main workload in a serving engine: its steady state, and GPUs for pages per day."""

from __future__ import annotations

from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.serving import ASSUMPTIONS
from mkdocs_dsocr.serving.planning import Engines, Target
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.plots import Series, plot

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
    shown = [
        index
        for index, count in enumerate(engines.points.tolist())
        if count <= memory.largest and (count & (count - 1) == 0 or count == memory.largest)
    ]
    rows = [
        {
            "concurrency": int(engines.points[i]),
            "pages_per_s": float(state.pages_per_s[0, i]),
            "tokens_per_s": float(state.tokens_per_s[0, i]),
            "ttft_ms": float(state.ttft_ms[0, i]),
            "tpot_ms": float(state.tpot_ms[0, i]) if engines.steps.new > 1 else None,
            "kv_share": float(state.cached_tokens[i] / memory.tokens),
        }
        for i in shown
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


def _plot(rows: list[dict[str, Any]], name: str, column: str, write: Any) -> Markup:
    """Return a column over the concurrency."""
    axes = svg.Axis("sequences at once", units.scaled_count), svg.Axis(name, write)
    values = [row[column] or 0.0 for row in rows]
    counts = [float(row["concurrency"]) for row in rows]
    return plot(f"{name} by concurrency", *axes, counts, [Series(name, values)])
