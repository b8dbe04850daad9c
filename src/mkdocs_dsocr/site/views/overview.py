"""The first page: where time and memory go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Totals, merged
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.charts import Bar, bars, stacked, stacked_rows
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.icicle import MEASURES, icicle
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.roofline import shares

TOP_MODULES: Final = 12
FAMILIES: Final = 7
"""Operator families that have their own colour."""
REST: Final = "other families"
LEAST_LEVER: Final = 1.005
"""Changes that multiply the pages per second by less are not shown."""


def overview(site: Site, links: Links) -> dict[str, Any]:
    """Return stages, charts and top modules of the main analysis."""
    main = site.main
    stages = {s: merged(n.own for n in main.nodes.values() if n.stage == s) for s in STAGES}
    longest = max(main.stage_times.items(), key=lambda item: item[1].time_ms)
    modules = sorted(main.nodes.items(), key=lambda item: (-item[1].own.time_ms, item[0]))
    levers = site.studies.levers if site.studies is not None else []
    return {
        "stages": stages,
        "longest_stage": longest[0],
        "longest_share": longest[1].time_ms / main.predicted_ms,
        "leading_classes": shares(main, STAGES)[:3],
        "levers": [lever for lever in levers if lever[1] > LEAST_LEVER],
        "time_chart": _time_chart(main),
        "family_chart": _family_chart(main, stages),
        "icicles": [(m.name, icicle(main.nodes, m, links.layer)) for m in MEASURES],
        "memory_chart": _memory_chart(main),
        "top_modules": modules[:TOP_MODULES],
    }


def _time_chart(main: Analysis) -> Markup:
    items = []
    for stage, t in main.stage_times.items():
        share = units.percent(t.time_ms / main.predicted_ms)
        items.append(Bar(stage, t.time_ms, f"{units.milliseconds(t.time_ms)} ({share})"))
    return stacked("Predicted time by stage", items)


def _family_chart(main: Analysis, stages: Mapping[str, Totals]) -> Markup:
    """Return the device time of each stage by operator family, the longest families by name."""
    families = sorted(main.root.total.families.items(), key=lambda f: -f[1].device_time_ms)
    named = [name for name, family in families if family.device_time_ms][:FAMILIES]
    kinds = [*(CATEGORIES[name].display_name for name in named), REST]
    rows = []
    for stage, tally in stages.items():
        times = [tally.families[k].device_time_ms if k in tally.families else 0.0 for k in named]
        times.append(max(0.0, tally.device_time_ms - sum(times)))
        parts = zip(kinds, times, strict=True)
        rows.append((stage, [Bar(k, ms, units.milliseconds(ms)) for k, ms in parts if ms]))
    return stacked_rows("Device time by stage and operator family", rows, kinds)


def _memory_chart(main: Analysis) -> Markup:
    memory = main.report.memory
    stage = memory.stages[memory.largest_stage]  # type: ignore[index]
    sizes = {
        "weights": stage.weight_bytes,
        "KV cache": stage.kvcache_bytes,
        "waiting image tokens": stage.waiting_bytes,
        "activations": stage.activation_bytes,
    }
    return bars("Memory", sizes, units.bytes_)


CHARTS: Final = {"time": _time_chart, "memory": _memory_chart}
"""Charts of the main analysis that stand alone on any page, by name."""
