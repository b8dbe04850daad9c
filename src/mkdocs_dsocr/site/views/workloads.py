"""The pages about workloads and GPUs: scenarios, GPUs, planner, memory, serving."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mkdocs_dsocr.cost.browser import RULE_TILES, gpu_rates
from mkdocs_dsocr.cost.memory import LIMIT, fitting
from mkdocs_dsocr.layers.memory import held_at_peak
from mkdocs_dsocr.models import NO_VIEW, STAGES, max_tiles_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.paper import MODES, PAPER_ARCHITECTURE
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.charts import bars, strip
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links


def scenarios(site: Site, links: Links) -> dict[str, Any]:
    """Return a row for each analysis, with its stages as a strip."""
    rows = [row for analyses in site.analyses for row in _rows(analyses)]
    keys = [(svg.key(index), stage) for index, stage in enumerate(STAGES)]
    return {"rows": rows, "keys": keys, "fit_limit": LIMIT}


def _rows(analyses: tuple[Analysis, ...]) -> Iterator[tuple[Analysis, Markup, bool]]:
    """Yield the analyses of a workload, each with its strip, and whether it is the first."""
    # The footprints of a workload are evaluated once, for its largest GPU.
    analyses[0].footprints(max(a.hardware.room_bytes for a in analyses))
    longest = max(a.predicted_ms for a in analyses)
    for a in analyses:
        words = f"{a.hardware.name}: {units.milliseconds(a.predicted_ms)}"
        amounts = [t.time_ms for t in a.stage_times.values()]
        yield a, strip(words, amounts, longest), a is analyses[0]


def gpus(site: Site, links: Links) -> dict[str, Any]:
    """Return a row for every GPU with the main workload on it."""
    return {"rows": site.studies.compared(site.gpus) if site.studies is not None else []}


def planner(site: Site, links: Links) -> dict[str, Any]:
    """Return the choices of the form, and the data of its script."""
    has_modes = site.main.config.architecture == PAPER_ARCHITECTURE
    workload = site.main.plan.workload
    max_tiles = max_tiles_of(site.main.config, workload)
    fixed = {name: getattr(workload, name) for name in ("expert_load", "max_tiles", "text_only")}
    return {
        "gpus": [(gpu, gpu_rates(gpu)) for gpu in site.gpus],
        "layer_links": {name: links.data(p.uri) for name, p in site.layer_pages.items()},
        # Side of the global view, side of local views, and whether there are any.
        "modes": {n: (view, tile or view, tile > 0) for n, view, tile, _ in MODES if has_modes},
        "data_link": links.data,
        "tile_size": site.model.tile_size,
        "max_tiles": max_tiles,
        "has_rule": max_tiles <= RULE_TILES,
        "no_view": NO_VIEW,
        "fixed": {name: value for name, value in fixed.items() if value},
    }


def memory(site: Site, links: Links) -> dict[str, Any]:
    """Return the largest batch of each GPU, and the tensors at the peak of each stage."""
    main = site.main
    room = main.hardware.room_bytes
    needed = main.footprints(max(h.room_bytes for h in site.gpus))
    last = main.workload.model_copy(update={"logits_positions": "last"})
    with_last = dataclasses.replace(main, workload=last).footprints(room)
    return {
        "peaks": [(s, list(held_at_peak(m.layer))) for s, m in main.stage_memory.items()],
        "fits": [(h, fitting(needed, h.room_bytes)) for h in site.gpus],
        "fit_limit": LIMIT,
        "fit_with_last_logits": fitting(with_last, room),
    }


def serving(site: Site, links: Links) -> dict[str, Any]:
    """Return the rates by batch as a chart, and the critical batch of each module."""
    found, nodes = site.main.report.serving, site.main.nodes
    rates = {f"{p.batch:,} at once": p.tokens_per_s for p in (found.points if found else ())}
    critical = found.critical_batches.items() if found else ()
    title = "Tokens a second by sequences at once"
    return {
        "chart": bars(title, rates, units.significant, kinds=False),
        "critical_batches": [(name, nodes[name].class_name, batch) for name, batch in critical],
        "launches_experts": any(n.visit.child.active is not None for n in nodes.values()),
    }
