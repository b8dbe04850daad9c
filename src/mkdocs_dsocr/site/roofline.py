"""Layers under the ceilings of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Totals, merged
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import svg, units

X: Final = svg.Axis("FLOPs a byte", units.scaled_count)
Y: Final = svg.Axis("FLOPs a second, by the estimate of its kernels", lambda v: units.scaled(v, ""))
LARGEST: Final = 16.0
"""Radius of a point that takes all of the time."""
SMALLEST: Final = 3.0
LABEL: Final = 0.35
"""Position of the bandwidth along its slope."""


@dataclass(frozen=True)
class Point:
    """A module class in a stage: its own work, without children."""

    class_name: str
    stage: str
    own: Totals
    share: float

    @property
    def flops_per_byte(self) -> float:
        return self.own.flops / self.own.io_bytes

    @property
    def flops_per_s(self) -> float:
        return 1000 * self.own.flops / self.own.device_time_ms

    @property
    def words(self) -> str:
        """Name, stage and place."""
        return (
            f"{self.class_name} in {self.stage}: {units.significant(self.flops_per_byte)} FLOPs "
            f"a byte, {units.scaled(self.flops_per_s, 'FLOP/s')}"
        )


def shares(analysis: Analysis, stages: Sequence[str]) -> list[Point]:
    """Return the classes that run in some stages, those that take longest first."""
    own: dict[tuple[str, str], list[Totals]] = {}
    for name, nodes in analysis.classes.items():
        for node in nodes:
            if node.stage in stages:
                own.setdefault((name, node.stage), []).append(node.own)
    tallies = {key: merged(parts) for key, parts in own.items()}
    whole = sum(t.device_time_ms for t in tallies.values()) or 1.0
    found = [
        Point(name, stage, tally, tally.device_time_ms / whole)
        for (name, stage), tally in tallies.items()
    ]
    return sorted(found, key=lambda p: -p.own.device_time_ms)


def points(analysis: Analysis, stages: Sequence[str]) -> list[Point]:
    """Return those of :func:`shares` that do arithmetic: only they have a place."""
    return [p for p in shares(analysis, stages) if p.own.flops and p.own.io_bytes]


def roofline(
    title: str, shown: Sequence[Point], analysis: Analysis, layer_link: Callable[[str], str]
) -> Markup:
    """Return points under the ceilings of a GPU; nothing if there is no point.

    Parameters
    ----------
    title
        What the chart shows.
    shown
        The points.
    analysis
        Gives the GPU, and the format of its tensor cores whose ceiling is drawn.
    layer_link
        Returns the link to the page of a module class.
    """
    if not shown:
        return Markup("")
    gpu, dtype = analysis.hardware, analysis.report.workload.activation_dtype
    bandwidth = gpu.bandwidth_gb_s * 1e9
    ceilings = {
        f"tensor cores, {dtype}": gpu.peak_tflops(dtype) * 1e12,
        "CUDA cores, float32": gpu.cuda_fp32.tflops * 1e12,
    }
    # All points and the corners of all ceilings are inside the frame.
    corners = [rate / bandwidth for rate in ceilings.values()]
    xs = [*(p.flops_per_byte for p in shown), *corners]
    ys = [*(p.flops_per_s for p in shown), *ceilings.values()]
    low = 10.0 ** math.floor(math.log10(min(xs)))
    high = 10.0 ** math.ceil(math.log10(max(xs)))
    frame = svg.Frame(X, Y, (low, high), (min(*ys, low * bandwidth), 2 * max(ys)))
    marks = [*_bandwidth(frame, bandwidth, max(corners)), *_ceilings(frame, ceilings, bandwidth)]
    marks += [_point(frame, p, layer_link) for p in sorted(shown, key=lambda p: -p.share)]
    words = "; ".join(p.words for p in shown[:6])
    return frame.chart("dsocr-plot dsocr-roofline", title, words, *marks, role="group")


def _bandwidth(frame: svg.Frame, bandwidth: float, corner: float) -> Iterator[Markup]:
    """Yield the slope up to the highest ceiling, and its rate left of the ceilings' names."""
    low = frame.x_range[0]
    x1, y1 = frame.x(low), frame.y(low * bandwidth)
    x2, y2 = frame.x(corner), frame.y(corner * bandwidth)
    yield svg.line("dsocr-roof", x1, y1, x2, y2)
    angle = math.degrees(math.atan2(y2 - y1, x2 - x1))
    x, y = x1 + LABEL * (x2 - x1), y1 + LABEL * (y2 - y1) - 6
    turn = f"translate({x:.1f} {y:.1f}) rotate({angle:.1f})"
    yield svg.text(0, 0, units.scaled(bandwidth, "B/s"), "middle", transform=turn)


def _ceilings(frame: svg.Frame, ceilings: dict[str, float], bandwidth: float) -> Iterator[Markup]:
    """Yield each ceiling from the slope to the right, the first named above it."""
    right = svg.WIDTH - svg.RIGHT
    for index, (name, rate) in enumerate(ceilings.items()):
        x, y = frame.x(rate / bandwidth), frame.y(rate)
        yield svg.line("dsocr-roof", x, y, right, y)
        words = f"{name}: {units.scaled(rate, 'FLOP/s')}"
        yield svg.text(right - 2, y + (15 if index else -5), words, "end")


def _point(frame: svg.Frame, point: Point, layer_link: Callable[[str], str]) -> Markup:
    words = (
        f"{point.words}, {units.percent(point.share)} of the time, "
        f"bound by {point.own.binding_ceiling}"
    )
    circle = svg.element(
        "circle",
        svg.tooltip(words),
        class_=svg.stage_colour(point.stage),
        cx=frame.x(point.flops_per_byte),
        cy=frame.y(point.flops_per_s),
        r=max(SMALLEST, LARGEST * math.sqrt(point.share)),
        fill_opacity=".75",
    )
    return svg.link(layer_link(point.class_name), circle)
