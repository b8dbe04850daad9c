"""Lines and points over axes, made in the build: inline SVG without scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 560
HEIGHT: Final = 300
LEFT: Final = 96
RIGHT: Final = 12
TOP: Final = 26
BOTTOM: Final = 52


@dataclass(frozen=True)
class Series:
    """A line: its name, and a value for each x (NaN where there is none)."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis: what it shows, and how its numbers are written."""

    label: str
    write: Callable[[float], str]

    def ticks(self, low: float, high: float) -> list[float]:
        """Return some round numbers between two."""
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1, 2, 5) if math.log10(high / low) < 1.5 else (1,)
        every = [f * 10.0**n for n in powers for f in factors]
        inside = [t for t in every if low * 0.999 <= t <= high * 1.001]
        return inside[:: max(1, len(inside) // 6)]

    def place(self, value: float, low: float, high: float) -> float:
        """Return where a value stands between two, from 0 to 1."""
        value, low, high = (math.log10(v) for v in (value, low, high))
        return (value - low) / ((high - low) or 1)


def plot(
    title: str,
    x_axis: Axis,
    y_axis: Axis,
    xs: Sequence[float],
    series: Sequence[Series],
    wall: tuple[float, str] | None = None,
) -> Markup:
    """Return lines over a common x.

    Parameters
    ----------
    title
        What it is a picture of.
    x_axis, y_axis
        Its axes.
    xs, series
        The points.
    wall
        An x at which a line stands, and what that says.
    """
    frame = Frame.around(x_axis, y_axis, xs, series)
    if frame is None:
        return Markup("")
    parts = [*frame.axes(), *frame.wall(wall), *frame.lines(xs, series)]
    words = "; ".join(
        f"{s.label}: "
        + ", ".join(f"{y_axis.write(s.values[i])} at {x_axis.write(xs[i])}" for i in (0, -1))
        for s in series
    )
    svg = (
        f'<svg class="dsocr-plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(parts)}</svg>"
    )
    return Markup(f"<div>{svg}{_legend(series)}</div>")


def _legend(series: Sequence[Series]) -> str:
    if len(series) == 1:
        return ""
    keys = "".join(
        f'<span><span class="dsocr-key dsocr-c{i % 8}"></span> {escape(s.label)}</span> '
        for i, s in enumerate(series)
    )
    return f'<p class="dsocr-note dsocr-legend">{keys}</p>'


@dataclass(frozen=True)
class Frame:
    """Axes and the range of each."""

    x_axis: Axis
    y_axis: Axis
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @classmethod
    def around(
        cls, x_axis: Axis, y_axis: Axis, xs: Sequence[float], series: Sequence[Series]
    ) -> Frame | None:
        """Return the frame of some lines; None where there is nothing to show."""
        values = [v for s in series for v in s.values if not math.isnan(v) and v > 0]
        if not values:
            return None
        low, high = min(values), max(values)
        if low == high:
            low, high = low / 2, high * 2
        return cls(x_axis, y_axis, (min(xs), max(xs)), (low, high))

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * self.x_axis.place(value, *self.x_range)

    def y(self, value: float) -> float:
        height = HEIGHT - TOP - BOTTOM
        return HEIGHT - BOTTOM - height * self.y_axis.place(value, *self.y_range)

    def axes(self) -> Iterator[str]:
        """Yield the names of the axes, numbers and grid lines."""
        yield f'<text x="4" y="14">{escape(self.y_axis.label)}</text>'
        for tick in self.y_axis.ticks(*self.y_range):
            y = f"{self.y(tick):.1f}"
            yield f'<line class="dsocr-grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            yield text(LEFT - 6, self.y(tick) + 5, "end", self.y_axis.write(tick))
        for tick in self.x_axis.ticks(*self.x_range):
            yield text(self.x(tick), HEIGHT - BOTTOM + 18, "middle", self.x_axis.write(tick))
        yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "middle", self.x_axis.label)

    def wall(self, wall: tuple[float, str] | None) -> Iterator[str]:
        """Yield a line across, and its words on the side that has room."""
        if wall is None or not self.x_range[0] <= wall[0] <= self.x_range[1]:
            return
        x = self.x(wall[0])
        yield (
            f'<line class="dsocr-wall" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" '
            f'y2="{HEIGHT - BOTTOM}"/>'
        )
        is_right = x > WIDTH / 2
        yield text(x + (-5 if is_right else 5), TOP + 10, "end" if is_right else "start", wall[1])

    def lines(self, xs: Sequence[float], series: Sequence[Series]) -> Iterator[str]:
        """Yield each series: a line, and a point with its numbers for each x."""
        for index, line in enumerate(series):
            known = [(x, v) for x, v in zip(xs, line.values, strict=True) if v > 0]
            path = " ".join(f"{self.x(x):.1f},{self.y(v):.1f}" for x, v in known)
            yield f'<polyline class="dsocr-s{index % 8}" points="{path}"/>'
            for x, v in known:
                words = f"{line.label}: {self.y_axis.write(v)} at {self.x_axis.write(x)}"
                yield (
                    f'<circle class="dsocr-c{index % 8}" cx="{self.x(x):.1f}" '
                    f'cy="{self.y(v):.1f}" r="3"><title>{escape(words)}</title></circle>'
                )


def text(x: float, y: float, anchor: str, words: str) -> str:
    """Return words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
