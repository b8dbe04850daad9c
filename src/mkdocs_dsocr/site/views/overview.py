"""The first page: where time and memory go, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup

from mkdocs_dsocr.cost.rates import MEASURED_LAUNCH_US, slowest_launch_us
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.architecture import architecture
from mkdocs_dsocr.site.charts import Bar, bars, stacked, stacked_rows, strip
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.families import KINDS, family_bars
from mkdocs_dsocr.site.icicle import MEASURES, icicle
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.roofline import shares
from mkdocs_dsocr.sweep.studies import GRAPHS

TOP_MODULES: Final = 12
LEAST_LEVER: Final = 1.005
"""Changes that multiply the pages per second by less are not shown."""


def overview(site: Site, links: Links) -> dict[str, Any]:
    """Return stages, charts and top modules of the main analysis."""
    main = site.main
    longest = max(main.stage_times, key=lambda stage: main.stage_times[stage].time_ms)
    modules = sorted(main.nodes.items(), key=lambda item: (-item[1].own.time_ms, item[0]))
    found = site.studies.levers if site.studies is not None else []
    levers = sorted(found, key=lambda lever: -max(lever[1:]))
    least = 1 + main.hardware.time_error
    return {
        "longest_stage": longest,
        "why": why(main, longest),
        "leading_classes": shares(main, (longest,))[:3],
        "levers": [
            (name, *_range(times, slow, least))
            for name, times, slow in levers
            if max(times, slow) > least
        ],
        "slowest_launch_us": slowest_launch_us(main.hardware),
        "graphs_need_fixed_experts": main.launches_experts
        and any(name == GRAPHS for name, *times in levers if max(times) > LEAST_LEVER),
        "ties": [name for name, *times in levers if LEAST_LEVER < max(times) <= least],
        "launch_share": _launch_share(site),
        "measured_launch_us": MEASURED_LAUNCH_US,
        "lanes": list(_lanes(main, longest)),
        "architecture": architecture(main, links.layer),
        "time_chart": _time_chart(main),
        "family_chart": _family_chart(main),
        "icicles": [(m.name, icicle(main.nodes, m, links.layer)) for m in MEASURES],
        "memory_chart": _memory_chart(main),
        "top_modules": modules[:TOP_MODULES],
    }


def _range(times: float, slow: float, least: float) -> tuple[float, float | None]:
    """Return the smaller and the larger factor; `times` alone where they differ too little."""
    low, high = sorted((times, slow))
    return (low, high) if high > least * low else (times, None)


def why(main: Analysis, stage: str) -> str:
    """Return why a stage takes as long as it does, in a sentence."""
    t = main.stage_times[stage]
    if t.is_host_bound:
        idle = units.percent(1 - t.device_ms / t.host_ms)
        launches = main.stage_totals[stage].dispatches
        return (
            f"The GPU is idle {idle} of the {stage} time: it waits for the CPU, which launches "
            f"{units.integer(launches)} operators"
        )
    share = max(main.stage_totals[stage].device_by_ceiling) / (t.device_ms or 1)
    binds = {
        "memory": "DRAM bandwidth",
        "tensor cores": "tensor-core throughput",
        "CUDA cores": "CUDA-core throughput",
        "kernel start": "the start time of kernels",
    }
    return f"{units.percent(share)} of the GPU time of {stage} is limited by {binds[t.ceiling]}"


def _launch_share(site: Site) -> float | None:
    """Return by which share the pages per second grow where a launch takes 10 % less time."""
    if site.studies is None:
        return None
    found = site.studies.sensitivity
    shares = zip(found["input"].tolist(), found["pages_per_s_below"].tolist(), strict=True)
    return dict(shares).get("dispatch_us")


def _lanes(main: Analysis, stage: str) -> Iterator[tuple[str, Markup, str]]:
    """Yield a lane for CPU and GPU in a stage: name, busy and idle time drawn, and in words.

    Decode is shown as its mean step.
    """
    t = main.stage_times[stage]
    steps = main.plan.steps if stage == "decode" else 1
    kind = svg.stage_colour(stage)
    for name, busy in (("CPU (launches kernels)", t.host_ms), ("GPU (runs kernels)", t.device_ms)):
        idle = max(0.0, t.time_ms - busy)
        share = busy / t.time_ms if t.time_ms else 0.0
        parts = [
            Bar("busy", busy, units.milliseconds(busy), kind),
            Bar("idle", idle, units.milliseconds(idle), "dsocr-idle"),
        ]
        words = f"busy {units.percent(share)}, {units.milliseconds(busy / steps)}"
        yield name, strip(f"{name}: {words}", parts, t.time_ms, "dsocr-band"), words


def _time_chart(main: Analysis) -> Markup:
    items = []
    for stage, t in main.stage_times.items():
        share = units.percent(t.time_ms / main.predicted_ms if main.predicted_ms else 0.0)
        words = f"{units.milliseconds(t.time_ms)} ({share})"
        items.append(Bar(stage, t.time_ms, words, svg.stage_colour(stage)))
    return stacked("Predicted time by stage", items)


def _family_chart(main: Analysis) -> Markup:
    """Return the device time of each stage by operator family."""
    rows = [(stage, family_bars(t.families)) for stage, t in main.stage_totals.items()]
    shown = {bar.label for _, parts in rows for bar in parts}
    kinds = {name: kind for name, kind in KINDS.items() if name in shown}
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
    return bars("Memory", [Bar(n, size, units.bytes_(size)) for n, size in sizes.items()])


CHARTS: Final = {"time": _time_chart, "memory": _memory_chart}
"""Charts of the main analysis that stand alone on any page, by name."""
