"""Layers under the ceilings of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from mkdocs_dsocr.cost.totals import Totals, merged
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.icicle import STAGE_COLOURS
from mkdocs_dsocr.site.plots import HEIGHT, RIGHT, WIDTH, Axis, Frame, text

X: Final = Axis("FLOPs a byte", units.scaled_count)
Y: Final = Axis("FLOPs a second, by the estimate of its kernels", lambda v: units.scaled(v, ""))
LARGEST: Final = 16.0
"""Radius of a point that takes all of the time."""
SMALLEST: Final = 3.0


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
    title: str, shown: Sequence[Point], gpu: Hardware, dtype: str, link: Callable[[str], str]
) -> Markup:
    """Return points under the ceilings of a GPU.

    Parameters
    ----------
    title
        What it is a picture of.
    shown
        The points.
    gpu, dtype
        Whose ceilings, and those of which format.
    link
        Gives the page of a module class.
    """
    if not shown:
        return Markup("")
    bandwidth = gpu.memory_gb_s * 1e9
    ceilings = [
        (f"tensor cores, {dtype}", gpu.tensor_tflops(dtype) * 1e12),
        ("CUDA cores, float32", gpu.cuda_fp32.tflops * 1e12),
    ]
    top = max(rate for _, rate in ceilings)
    xs = [p.flops_per_byte for p in shown]
    ys = [p.flops_per_s for p in shown]
    low_x = 10 ** math.floor(math.log10(min(xs)))
    high_x = 10 ** math.ceil(math.log10(max(*xs, top / bandwidth)))
    frame = Frame(X, Y, (low_x, high_x), (min(*ys, low_x * bandwidth), 2 * top))
    parts = [*frame.axes(), *_ceilings(frame, ceilings, bandwidth)]
    parts += [_point(frame, p, link) for p in sorted(shown, key=lambda p: -p.share)]
    words = "; ".join(
        f"{p.class_name} in {p.stage}: {units.significant(p.flops_per_byte)} FLOPs a byte, "
        f"{units.scaled(p.flops_per_s, 'FLOP/s')}"
        for p in shown[:6]
    )
    return Markup(
        f'<svg class="dsocr-plot dsocr-roofline" role="group" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )


def _ceilings(
    frame: Frame, ceilings: Sequence[tuple[str, float]], bandwidth: float
) -> Iterator[str]:
    low, _ = frame.x_range
    top = max(rate for _, rate in ceilings)
    x1, x2 = frame.x(low), frame.x(top / bandwidth)
    y1, y2 = frame.y(low * bandwidth), frame.y(top)
    yield f'<line class="dsocr-roof" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    angle = math.degrees(math.atan2(y2 - y1, x2 - x1))
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    yield (
        f'<text transform="translate({middle_x:.1f} {middle_y - 6:.1f}) rotate({angle:.1f})" '
        f'text-anchor="middle">{escape(units.scaled(bandwidth, "B/s"))}</text>'
    )
    for index, (name, rate) in enumerate(ceilings):
        y, start = frame.y(rate), frame.x(max(low, rate / bandwidth))
        yield (
            f'<line class="dsocr-roof" x1="{start:.1f}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/>'
        )
        yield text(
            WIDTH - RIGHT - 2,
            y + (15 if index else -5),
            "end",
            f"{name}: {units.scaled(rate, 'FLOP/s')}",
        )


def _point(frame: Frame, point: Point, link: Callable[[str], str]) -> str:
    x, y = frame.x(point.flops_per_byte), frame.y(point.flops_per_s)
    radius = max(SMALLEST, LARGEST * math.sqrt(point.share))
    words = (
        f"{point.class_name} in {point.stage}: {units.significant(point.flops_per_byte)} FLOPs a "
        f"byte, {units.scaled(point.flops_per_s, 'FLOP/s')}, {units.percent(point.share)} of the "
        f"time, bound by {point.own.binding_ceiling}"
    )
    return (
        f'<a xlink:href="{escape(link(point.class_name))}"><circle '
        f'class="dsocr-c{STAGE_COLOURS[point.stage]}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" '
        f'fill-opacity=".75"><title>{escape(words)}</title></circle></a>'
    )
