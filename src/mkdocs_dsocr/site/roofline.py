"""Layers under the ceilings of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.batches import middle_step
from mkdocs_dsocr.cost.totals import Totals, merged
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import svg, units

X: Final = svg.Axis("FLOPs per byte", units.scaled_count)
Y: Final = svg.Axis("FLOP/s in the estimate", lambda v: units.scaled(v, ""))
LARGEST: Final = 16.0
"""Radius of a point that takes all of the time."""
SMALLEST: Final = 3.0
LETTER: Final = 5.2
"""Width of a letter of a name."""
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
            f"per byte, {units.scaled(self.flops_per_s, 'FLOP/s')}"
        )

    def bound(self, gpu: Hardware, dtype: str) -> str:
        """Return what binds most of its device time, and whether its place shows that.

        A point is the sum of its kernels. Where these meet different ceilings, the sum may lie
        on the other side of the ridge than the kernels that take most of the time.
        """
        ceiling = self.own.binding_ceiling
        share = max(self.own.device_by_ceiling) / self.own.device_time_ms
        found = f"{ceiling} ({units.percent(share)} of its device time)"
        sides = {"memory": False, "tensor cores": True, "CUDA cores": True}
        peak = gpu.cuda_fp32.tflops if ceiling == "CUDA cores" else gpu.peak_tflops(dtype)
        is_right = self.flops_per_byte * gpu.bandwidth_gb_s >= 1000 * peak
        differs = sides.get(ceiling, is_right) != is_right
        return f"{found}; its kernels meet different ceilings" if differs else found


def shares(analysis: Analysis, stages: tuple[str, ...]) -> tuple[Point, ...]:
    """Return the classes that run in some stages, those that take longest first."""
    return _shares(analysis.predicted, stages)


@lru_cache(maxsize=8)
def _shares(analysis: Analysis, stages: tuple[str, ...]) -> tuple[Point, ...]:
    """Return :func:`shares`, once for all pages: every layer page has all points in its frame."""
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
    return tuple(sorted(found, key=lambda p: -p.own.device_time_ms))


def points(analysis: Analysis, stages: tuple[str, ...]) -> list[Point]:
    """Return those of :func:`shares` that do arithmetic: only they have a place."""
    return [p for p in shares(analysis, stages) if p.own.flops and p.own.io_bytes]


def of_batches(analysis: Analysis) -> dict[int, list[Point]]:
    """Return the points of decode for the workload's batch, and for others that fit the GPU.

    Those of others are of one step, in the middle.
    """
    own, serving = points(analysis, ("decode",)), analysis.serving
    others = [] if serving is None else [p.batch for p in serving.points]
    found = {batch: _of_batch(analysis, batch) for batch in others}
    return dict(sorted((found | {analysis.plan.batch: own}).items())) if own else {}


def _of_batch(analysis: Analysis, batch: int) -> list[Point]:
    found = middle_step(analysis.cost, analysis.hardware, batch)
    whole = sum(t.device_time_ms for t in found.values())
    every = (Point(n, "decode", t, t.device_time_ms / whole) for n, t in found.items())
    return [p for p in every if p.own.flops and p.own.io_bytes]


def roofline(
    title: str,
    shown: Sequence[Point],
    analysis: Analysis,
    layer_link: Callable[[str], str],
    batches: Mapping[int, Sequence[Point]] | None = None,
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
    batches
        The points by batch, where a slider chooses between batches: of all but the workload's own,
        which are `shown`, there are hidden groups.
    """
    if not shown:
        return Markup("")
    gpu, dtype = analysis.hardware, analysis.activation_dtype
    bandwidth = gpu.bandwidth_gb_s * 1e9
    ceilings = {
        f"tensor cores, {dtype}": gpu.peak_tflops(dtype) * 1e12,
        "CUDA cores, float32": gpu.cuda_fp32.tflops * 1e12,
    }
    corners = [rate / bandwidth for rate in ceilings.values()]
    batches = batches or {analysis.plan.batch: shown}
    every = [*points(analysis, STAGES), *(p for found in batches.values() for p in found)]
    frame = _frame(every, list(ceilings.values()), bandwidth)
    marks = [*_bandwidth(frame, bandwidth, max(corners)), *_ceilings(frame, ceilings, bandwidth)]
    for batch, found in batches.items():
        ordered = sorted(found, key=lambda p: -p.share)
        drawn = [_point(frame, p, p.bound(gpu, dtype), layer_link) for p in ordered]
        drawn += _labels(frame, ordered, [max(corners), *ceilings.values()], bandwidth)
        hidden = None if batch == analysis.plan.batch else "dsocr-off"
        marks.append(svg.element("g", *drawn, class_=hidden, data_batch=batch))
    words = "; ".join(p.words for p in shown[:6])
    return frame.chart("dsocr-plot dsocr-roofline", title, words, *marks, role="group")


def _frame(every: Sequence[Point], ceilings: Sequence[float], bandwidth: float) -> svg.Frame:
    """Return the axes of every roofline of an analysis: all points and ceilings are inside."""
    xs = [*(p.flops_per_byte for p in every), *(rate / bandwidth for rate in ceilings)]
    ys = [*(p.flops_per_s for p in every), *ceilings]
    low = 10.0 ** math.floor(math.log10(min(xs)))
    high = 10.0 ** math.ceil(math.log10(max(xs)))
    return svg.Frame(X, Y, (low, high), (min(*ys, low * bandwidth), 2 * max(ys)))


def _labels(
    frame: svg.Frame, ordered: Sequence[Point], ceilings: Sequence[float], bandwidth: float
) -> Iterator[Markup]:
    """Yield names next to points, the largest first, where they cover no name, point or line."""
    is_one_class = len({p.class_name for p in ordered}) == 1
    taken = [(frame.x(p.flops_per_byte) - 3, frame.y(p.flops_per_s) - 3, 6.0, 6.0) for p in ordered]
    corner, *rates = ceilings
    right = svg.WIDTH - svg.RIGHT
    taken += [(frame.x(corner), frame.y(rate) - 2, right - frame.x(corner), 4.0) for rate in rates]
    taken.append((right - 200, frame.y(max(rates)) - 26, 200.0, 26.0))
    # The slope and the words on it, as a chain of small boxes.
    low = frame.x_range[0]
    for step in range(41):
        at = low * (corner / low) ** (step / 40)
        taken.append((frame.x(at) - 4, frame.y(at * bandwidth) - 4, 8.0, 8.0))
        if abs(step / 40 - LABEL) < 0.09:
            taken.append((frame.x(at) - 4, frame.y(at * bandwidth) - 20, 8.0, 20.0))
    for point in ordered:
        name = point.stage if is_one_class else point.class_name
        x, y = frame.x(point.flops_per_byte), frame.y(point.flops_per_s)
        away, width = _radius(point) + 3, LETTER * len(name)
        for left, top in (
            (x + away, y - 6),
            (x - away - width, y - 6),
            (x - width / 2, y - away - 13),
            (x - width / 2, y + away),
        ):
            inside = left >= svg.LEFT and left + width <= svg.WIDTH - svg.RIGHT
            box = (left, top, width, 13.0)
            if inside and top >= svg.TOP and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield svg.text(left, top + 10, name, class_="dsocr-label")
                break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _radius(point: Point) -> float:
    return max(SMALLEST, LARGEST * math.sqrt(point.share))


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
    """Yield each ceiling from the slope to the right; both names stand above the higher one."""
    right = svg.WIDTH - svg.RIGHT
    top = frame.y(max(ceilings.values()))
    for index, (name, rate) in enumerate(ceilings.items()):
        x, y = frame.x(rate / bandwidth), frame.y(rate)
        yield svg.line("dsocr-roof", x, y, right, y)
        words = f"{'lower line: ' if index else ''}{name}, {units.scaled(rate, 'FLOP/s')}"
        yield svg.text(right - 2, top - 4 - 12 * index, words, "end")


def _point(frame: svg.Frame, point: Point, bound: str, layer_link: Callable[[str], str]) -> Markup:
    words = f"{point.words}, {units.percent(point.share)} of the device time, bound by {bound}"
    circle = svg.element(
        "circle",
        svg.tooltip(words),
        class_=svg.stage_colour(point.stage),
        cx=frame.x(point.flops_per_byte),
        cy=frame.y(point.flops_per_s),
        r=_radius(point),
        fill_opacity=".75",
    )
    return svg.link(layer_link(point.class_name), circle)
