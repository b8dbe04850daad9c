"""Lines and points over axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mkdocs_dsocr.site import svg

Wall = tuple[float, str]
"""An x that is marked by a line across, and the words at the line."""


@dataclass(frozen=True)
class Series:
    """A line: its name, and a value for each x, NaN where there is none."""

    label: str
    values: Sequence[float]


def plot(
    title: str,
    x_axis: svg.Axis,
    y_axis: svg.Axis,
    xs: Sequence[float],
    series: Sequence[Series],
    wall: Wall | None = None,
) -> Markup:
    """Return lines over a common x; nothing if no value is above 0."""
    values = [v for s in series for v in s.values if v > 0]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    # Lines keep off the edges, and equal values have a range too.
    low, high = low / 1.2, high * 1.2
    frame = svg.Frame(x_axis, y_axis, (min(xs), max(xs)), (low, high))
    words = "; ".join(
        f"{s.label}: "
        + ", ".join(f"{y_axis.write(s.values[i])} at {x_axis.write(xs[i])}" for i in (0, -1))
        for s in series
    )
    marks = (*_wall(frame, wall), *_lines(frame, xs, series))
    drawn = frame.chart("dsocr-plot", title, words, *marks)
    kinds = {s.label: svg.colour(index) for index, s in enumerate(series)}
    names = svg.legend(kinds) if len(series) > 1 else ""
    return Markup("<div>{}{}</div>").format(svg.wide(title, drawn), names)


def _wall(frame: svg.Frame, wall: Wall | None) -> Iterator[Markup]:
    """Yield a line across, and its words on the side that has room."""
    if wall is None or not frame.x_range[0] <= wall[0] <= frame.x_range[1]:
        return
    x = frame.x(wall[0])
    side, anchor = (-5, "end") if x > svg.WIDTH / 2 else (5, "start")
    yield svg.line("dsocr-wall", x, svg.TOP, x, svg.HEIGHT - svg.BOTTOM)
    yield svg.text(x + side, svg.TOP + 10, wall[1], anchor)


def _lines(frame: svg.Frame, xs: Sequence[float], series: Sequence[Series]) -> Iterator[Markup]:
    """Yield each series: a line, and a point with its numbers for each x."""
    for index, line in enumerate(series):
        known = [(x, v) for x, v in zip(xs, line.values, strict=True) if v > 0]
        path = " ".join(f"{frame.x(x):.1f},{frame.y(v):.1f}" for x, v in known)
        yield svg.element("polyline", class_=f"dsocr-s{index % svg.COLOURS}", points=path)
        for x, v in known:
            words = f"{line.label}: {frame.y_axis.write(v)} at {frame.x_axis.write(x)}"
            place = {"cx": frame.x(x), "cy": frame.y(v), "r": 3}
            yield svg.element("circle", svg.tooltip(words), class_=svg.colour(index), **place)
