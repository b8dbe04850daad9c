"""The frame of every chart: its element, title, axes, grid, legend and colours.

A chart is inline SVG without scripts. The other chart modules draw only their marks.
:func:`element` writes all SVG and escapes all text. Colours are classes of the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.text import printable

COLOURS: Final = 8
"""Number of colours in the style sheet."""
WIDTH: Final = 560
HEIGHT: Final = 300
LEFT: Final = 96
RIGHT: Final = 12
TOP: Final = 26
BOTTOM: Final = 52


def element(name: str, *inside: str, **attributes: Any) -> Markup:
    """Return an SVG element with its text and attributes escaped.

    Parameters
    ----------
    name
        Name of the element.
    inside
        Elements and text.
    attributes
        An underscore in a name is written as a hyphen, at the end it is dropped. None is
        omitted. A float is rounded to a tenth.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup("").join(_drawn(part) for part in inside)
    return Markup(f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>")


def _value(value: Any) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(_drawn(value))


def _drawn(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def chart(
    kind: str, title: str, description: str, size: tuple[float, float], *marks: str, **more: Any
) -> Markup:
    """Return a whole chart.

    Parameters
    ----------
    kind
        Classes of the style sheet.
    title, description
        What it shows, and its main figures, for readers who cannot see it.
    size
        Width and height in the units of the marks.
    marks
        What is drawn.
    more
        More attributes. The role is ``img`` unless given: give ``group`` if marks are links.
    """
    attributes = {"role": "img", "viewBox": f"0 0 {_value(size[0])} {_value(size[1])}"} | more
    head = (element("title", title), element("desc", description))
    return element("svg", *head, *marks, class_=kind, aria_label=title, **attributes)


def text(x: float, y: float, words: str, anchor: str | None = None, **more: Any) -> Markup:
    """Return words at a place; `anchor` is ``start``, ``middle`` or ``end``."""
    return element("text", words, x=x, y=y, text_anchor=anchor, **more)


def rect(
    x: float, y: float, width: float, height: float, kind: str | None, *inside: str, **more: Any
) -> Markup:
    """Return a box of a class of the style sheet."""
    size = {"x": x, "y": y, "width": width, "height": height}
    return element("rect", *inside, class_=kind, **size, **more)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line of a class of the style sheet."""
    return element("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2)


def tooltip(words: str) -> Markup:
    """Return what a browser shows while the pointer is on the element around it."""
    return element("title", words)


def link(target: str, *marks: str, **more: Any) -> Markup:
    """Return marks that lead to a page or row."""
    return element("a", *marks, **{"xlink:href": target}, **more)


def colour(index: int) -> str:
    """Return the class of the fill colour with this number; they repeat."""
    return f"dsocr-c{index % COLOURS}"


def stage_colour(stage: str) -> str:
    """Return the fill colour of a stage, the same in every chart."""
    return colour(STAGES.index(stage) if stage in STAGES else -1)


def key(index: int) -> Markup:
    """Return a small square of a colour, in HTML."""
    return Markup('<span class="dsocr-key {}"></span>').format(colour(index))


def legend(labels: Iterable[str]) -> Markup:
    """Return an HTML line that names the colours in their order."""
    keys = (
        Markup("<span>{} {}</span>").format(key(index), printable(label))
        for index, label in enumerate(labels)
    )
    return Markup('<p class="dsocr-note dsocr-legend">{}</p>').format(Markup(" ").join(keys))


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis: its label, and the function that writes its numbers."""

    label: str
    write: Callable[[float], str]

    def ticks(self, low: float, high: float) -> list[float]:
        """Return some round numbers in a range."""
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1, 2, 5) if math.log10(high / low) < 1.5 else (1,)
        every = [f * 10.0**n for n in powers for f in factors]
        inside = [t for t in every if low * 0.999 <= t <= high * 1.001]
        return inside[:: max(1, len(inside) // 6)]


@dataclass(frozen=True)
class Frame:
    """Two axes and the range of each."""

    x_axis: Axis
    y_axis: Axis
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the horizontal position of a value."""
        return LEFT + (WIDTH - LEFT - RIGHT) * _share(value, *self.x_range)

    def y(self, value: float) -> float:
        """Return the vertical position of a value."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(value, *self.y_range)

    def chart(self, kind: str, title: str, description: str, *marks: str, **more: Any) -> Markup:
        """Return a chart of the marks with the axes behind them; see :func:`chart`."""
        return chart(kind, title, description, (WIDTH, HEIGHT), *self._axes(), *marks, **more)

    def _axes(self) -> Iterator[Markup]:
        yield text(4, 14, self.y_axis.label)
        for tick in self.y_axis.ticks(*self.y_range):
            y = self.y(tick)
            yield line("dsocr-grid", LEFT, y, WIDTH - RIGHT, y)
            yield text(LEFT - 6, y + 5, self.y_axis.write(tick), "end")
        for tick in self.x_axis.ticks(*self.x_range):
            yield text(self.x(tick), HEIGHT - BOTTOM + 18, self.x_axis.write(tick), "middle")
        yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x_axis.label, "middle")


def _share(value: float, low: float, high: float) -> float:
    """Return the position of a value in a logarithmic range, from 0 to 1."""
    value, low, high = (math.log10(v) for v in (value, low, high))
    return (value - low) / ((high - low) or 1)
