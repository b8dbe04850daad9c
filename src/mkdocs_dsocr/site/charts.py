"""Bar charts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.site import svg

WIDTH: Final = 520
ROW: Final = 26
LABEL: Final = 180
VALUE: Final = 90


@dataclass(frozen=True)
class Bar:
    """A bar or a part of one: its label, its amount, and the amount in words."""

    label: str
    amount: float
    value: str


def bars(
    title: str, amounts: Mapping[str, float], write: Callable[[float], str], kinds: bool = True
) -> Markup:
    """Return an amount for each label as bars in rows; `kinds` gives each its own colour."""
    items = [Bar(label, amount, write(amount)) for label, amount in amounts.items()]
    scale = (WIDTH - LABEL - VALUE) / (max((b.amount for b in items), default=0) or 1)
    marks: list[Markup] = []
    for index, bar in enumerate(items):
        y, width = index * ROW, max(1.0, bar.amount * scale)
        marks += [
            _row_label(bar.label, y),
            svg.rect(LABEL, y + 4, width, ROW - 8, svg.colour(index if kinds else 0), rx=2),
            svg.text(LABEL + width + 8, y + 17, bar.value),
        ]
    return svg.chart("dsocr-chart", title, _described(items), (WIDTH, ROW * len(items)), *marks)


def stacked(title: str, items: Sequence[Bar]) -> Markup:
    """Return one bar of parts, and its legend."""
    scale = WIDTH / (sum(b.amount for b in items) or 1)
    marks = _parts(items, range(len(items)), scale, height=34)
    drawn = svg.chart("dsocr-chart", title, _described(items), (WIDTH, 34), *marks)
    return drawn + svg.legend(f"{bar.label}: {bar.value}" for bar in items)


def stacked_rows(
    title: str, rows: Sequence[tuple[str, Sequence[Bar]]], kinds: Sequence[str]
) -> Markup:
    """Return a bar of parts for each row, as long as its sum, and the legend.

    Parameters
    ----------
    title
        What the chart shows.
    rows
        Label and parts of each row.
    kinds
        Labels of the parts, in the order of their colours.
    """
    longest = max((sum(b.amount for b in parts) for _, parts in rows), default=0) or 1
    scale = (2 * WIDTH - LABEL - VALUE) / longest
    marks: list[Markup] = []
    for index, (label, parts) in enumerate(rows):
        y = index * ROW
        colours = [kinds.index(part.label) for part in parts]
        marks.append(_row_label(label, y))
        marks += _parts(parts, colours, scale, LABEL, y + 3, ROW - 6, f"{label}, ")
    words = "; ".join(f"{label}: {_described(parts)}" for label, parts in rows)
    size = (2 * WIDTH, ROW * len(rows))
    return Markup(
        '<div class="dsocr-wide" tabindex="0" role="region" aria-label="{}">{}</div>{}'
    ).format(
        title,
        svg.chart("dsocr-chart dsocr-long", title, words, size, *marks),
        svg.legend(kinds),
    )


def strip(description: str, amounts: Sequence[float], whole: float) -> Markup:
    """Return a bar of parts without words, as long as its share of `whole`."""
    parts = [Bar("", amount, "") for amount in amounts]
    marks = _parts(parts, range(len(parts)), 100 / (whole or 1), height=9)
    more = {"viewBox": "0 0 100 9", "preserveAspectRatio": "none", "aria_label": description}
    return svg.element("svg", *marks, class_="dsocr-strip", role="img", **more)


def _parts(
    parts: Sequence[Bar],
    colours: Sequence[int],
    scale: float,
    x: float = 0,
    y: float = 0,
    height: float = 0,
    owner: str = "",
) -> Iterator[Markup]:
    """Yield parts next to each other, `scale` units wide for each unit of their amount."""
    for part, number in zip(parts, colours, strict=True):
        width = part.amount * scale
        words = [svg.tooltip(f"{owner}{part.label}: {part.value}")] if part.label else []
        yield svg.rect(x, y, width, height, svg.colour(number), *words)
        x += width


def _row_label(label: str, y: float) -> Markup:
    return svg.text(LABEL - 10, y + 17, label, "end")


def _described(items: Sequence[Bar]) -> str:
    return "; ".join(f"{b.label}: {b.value}" for b in items)
