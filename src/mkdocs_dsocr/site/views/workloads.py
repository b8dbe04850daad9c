"""The pages about workloads and GPUs: GPUs compared, planner, memory and serving."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.cost.browser import RULE_TILES
from mkdocs_dsocr.cost.memory import LIMIT, fitting
from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.layers.memory import held_at_peak
from mkdocs_dsocr.models import NO_VIEW, max_tiles_of
from mkdocs_dsocr.quantities import Symbol
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.paper import MODES, PAPER_ARCHITECTURE
from mkdocs_dsocr.site import notation, svg, units
from mkdocs_dsocr.site.charts import Bar, bars, stacked_rows, strip
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.studies import Row
from mkdocs_dsocr.site.views.serving import decision, engine


def gpus(site: Site, links: Links) -> dict[str, Any]:
    """Return a row for each analysis of the site, and one for every GPU, the fastest first."""
    rows = site.studies.compared(site.gpus) if site.studies is not None else []
    best = next((row for row in rows if row.batch and row.analysis), None)
    return {
        "own_rows": [row for analyses in site.analyses for row in _rows(analyses)],
        "keys": svg.stage_legend(),
        "rows": rows,
        "best": best,
        "ties": [row.hardware.name for row in rows if best and _is_tie(best, row)],
        "graph_ms": {r.hardware.hardware_id: _graph_ms(r.analysis) for r in rows if r.analysis},
        "fit_limit": LIMIT,
    }


def _is_tie(best: Row, row: Row) -> bool:
    """Tell whether another GPU may be as fast as the best one, within the expected errors."""
    low = best.pages_per_s * (1 - best.hardware.time_error)
    is_other = row is not best and row.batch > 0 and row.analysis is not None
    return is_other and row.pages_per_s * (1 + row.hardware.time_error) >= low


def _graph_ms(analysis: Analysis) -> float:
    """Return the time of the middle decode step replayed from a CUDA graph; 0 without steps."""
    step = analysis.cost.steps.get("middle")
    return step.on(ms_per(analysis.hardware), replays=1).time_ms if step else 0.0


def _rows(analyses: tuple[Analysis, ...]) -> Iterator[tuple[Analysis, Markup, bool]]:
    """Yield the analyses of a workload, each with its strip, and whether it is the first."""
    # The footprints of a workload are evaluated once, for its largest GPU.
    analyses[0].footprints(max(a.hardware.room_bytes for a in analyses))
    longest = max(a.predicted_ms for a in analyses)
    for a in analyses:
        words = f"{a.hardware.name}: {units.milliseconds(a.predicted_ms)}"
        parts = [
            Bar(stage, t.time_ms, units.milliseconds(t.time_ms), svg.stage_colour(stage))
            for stage, t in a.stage_times.items()
        ]
        yield a, strip(words, parts, longest), a is analyses[0]


def planner(site: Site, links: Links) -> dict[str, Any]:
    """Return the choices of the form, and the data of its script."""
    has_modes = site.main.config.architecture == PAPER_ARCHITECTURE
    workload = site.main.plan.workload
    max_tiles = max_tiles_of(site.main.config, workload)
    fixed = {name: getattr(workload, name) for name in ("expert_load", "max_tiles", "text_only")}
    if workload.pages_per_prompt > 1:
        fixed["pages_per_prompt"] = workload.pages_per_prompt
    return {
        "layer_links": {name: links.data(p.uri) for name, p in site.layer_pages.items()},
        # Side of the global view, side of local views, and whether there are any.
        "modes": {n: (view, tile or view, tile > 0) for n, view, tile, _ in MODES if has_modes},
        "data_link": links.data,
        "tile_size": site.model.tile_size,
        "sides": site.model.sides(site.main.config),
        "max_tiles": max_tiles,
        "has_rule": max_tiles <= RULE_TILES,
        "no_view": NO_VIEW,
        "fixed": {name: value for name, value in fixed.items() if value},
        **decision(site),
    }


def workload(site: Site, links: Links) -> dict[str, Any]:
    """Return the tokens of views as formulas."""
    layout, side = site.model.layout, Symbol("s")
    return {
        "global_tokens": notation.html(layout.of_global(side)),
        "local_tokens": notation.html(layout.of_local(side, Symbol("w"), Symbol("h"))),
    }


MEMORY: Final = ("weights", "KV cache", "waiting image tokens", "activations")
"""What is in memory."""


def memory(site: Site, links: Links) -> dict[str, Any]:
    """Return the largest batch of each GPU, and the tensors at the peak of each stage."""
    main = site.main
    room = main.hardware.room_bytes
    needed = main.footprints(max(h.room_bytes for h in site.gpus))
    last = main.workload.model_copy(update={"logits_positions": "last"})
    with_last = dataclasses.replace(main, workload=last).footprints(room)
    kinds = {n: svg.colour(i) for i, n in enumerate(MEMORY)}
    rows = []
    for stage, m in main.stage_memory.items():
        sizes = zip(MEMORY, (m.weights, m.kvcache, m.waiting, m.activations), strict=True)
        rows.append((stage, [Bar(n, x, units.bytes_(x), kinds[n]) for n, x in sizes]))
    return {
        "stage_chart": stacked_rows("Memory by stage", rows, kinds),
        "peaks": [(s, list(held_at_peak(m.layer))) for s, m in main.stage_memory.items()],
        "fits": [(h, fitting(needed, h.room_bytes)) for h in site.gpus],
        "fit_limit": LIMIT,
        "fit_with_last_logits": fitting(with_last, room),
        **_serving(site),
        **engine(site),
    }


def _serving(site: Site) -> dict[str, Any]:
    """Return the rates by batch as a chart, and the critical batch of each module."""
    found, nodes = site.main.report.serving, site.main.nodes
    rates = [
        Bar(f"batch {p.batch:,}", p.tokens_per_s, units.significant(p.tokens_per_s))
        for p in (found.points if found else ())
    ]
    critical = found.critical_batches.items() if found else ()
    return {
        "chart": bars("Tokens per second by batch", rates),
        "critical_batches": [(name, nodes[name].class_name, batch) for name, batch in critical],
    }
