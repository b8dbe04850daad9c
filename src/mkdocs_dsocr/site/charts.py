"""Pictures made in the build: inline SVG without scripts, coloured by the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 520
ROW: Final = 26
LABEL: Final = 180
VALUE: Final = 90


@dataclass(frozen=True)
class Bar:
    """A bar: its label, its length as a share of the longest, what it says at its end."""

    label: str
    amount: float
    value: str


def bars(title: str, description: str, items: Sequence[Bar], kinds: bool = True) -> Markup:
    """Return horizontal bars, one below the other; a colour each where they are `kinds`."""
    longest = max((b.amount for b in items), default=0) or 1
    room = WIDTH - LABEL - VALUE
    parts = []
    for index, bar in enumerate(items):
        y, width = index * ROW, max(1.0, room * bar.amount / longest)
        colour = index % 8 if kinds else 0
        parts.append(
            f'<text x="{LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect class="dsocr-c{colour}" x="{LABEL}" y="{y + 4}" width="{width:.1f}" '
            f'height="{ROW - 8}" rx="2"/>'
            f'<text x="{LABEL + width + 8:.1f}" y="{y + 17}">{escape(bar.value)}</text>'
        )
    return _svg(title, description, ROW * len(items), parts)


def stacked(title: str, description: str, items: Sequence[Bar]) -> Markup:
    """Return one bar that is made of parts, with a legend below."""
    total = sum(b.amount for b in items) or 1
    parts, x = [], 0.0
    for index, bar in enumerate(items):
        width = WIDTH * bar.amount / total
        parts.append(
            f'<rect class="dsocr-c{index % 8}" x="{x:.1f}" y="0" width="{width:.1f}" height="34">'
            f"<title>{escape(bar.label)}: {escape(bar.value)}</title></rect>"
        )
        x += width
    for index, bar in enumerate(items):
        column, row = index % 2, index // 2
        left, y = column * WIDTH / 2, 50 + row * 24
        parts.append(
            f'<rect class="dsocr-c{index % 8}" x="{left:.0f}" y="{y}" '
            f'width="14" height="14" rx="2"/><text x="{left + 22:.0f}" y="{y + 12}">'
            f"{escape(bar.label)}: {escape(bar.value)}</text>"
        )
    return _svg(title, description, 50 + 24 * ((len(items) + 1) // 2), parts)


def stacked_rows(
    title: str, description: str, rows: Sequence[tuple[str, Sequence[Bar]]], kinds: Sequence[str]
) -> Markup:
    """Return a bar of parts for each row, as long as its sum, with a legend of `kinds` below.

    A part's colour is its label's place in `kinds`.
    """
    longest = max((sum(b.amount for b in parts) for _, parts in rows), default=0) or 1
    room = 2 * WIDTH - LABEL - VALUE
    drawn = []
    for index, (label, parts) in enumerate(rows):
        y, x = index * ROW, float(LABEL)
        drawn.append(
            f'<text x="{LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(label)}</text>'
        )
        for part in parts:
            width = room * part.amount / longest
            drawn.append(
                f'<rect class="dsocr-c{kinds.index(part.label) % 8}" x="{x:.1f}" y="{y + 3}" '
                f'width="{width:.1f}" height="{ROW - 6}"><title>{escape(label)}, '
                f"{escape(part.label)}: {escape(part.value)}</title></rect>"
            )
            x += width
    keys = "".join(
        f'<span><span class="dsocr-key dsocr-c{i % 8}"></span> {escape(kind)}</span> '
        for i, kind in enumerate(kinds)
    )
    svg = _svg(title, description, ROW * len(rows), drawn, 2 * WIDTH)
    legend = f'<p class="dsocr-note dsocr-legend">{keys}</p>'
    return Markup(
        '<div class="dsocr-wide" tabindex="0" role="region" aria-label="{}">{}</div>'
    ).format(title, svg) + Markup(legend)


def strip(description: str, amounts: Sequence[float], whole: float) -> Markup:
    """Return parts side by side without words, as long together as their share of `whole`."""
    parts, x = [], 0.0
    for index, amount in enumerate(amounts):
        width = 100 * amount / (whole or 1)
        shape = f'x="{x:.1f}" width="{width:.1f}" height="9"'
        parts.append(f'<rect class="dsocr-c{index % 8}" {shape}/>')
        x += width
    return Markup(
        '<svg class="dsocr-strip" role="img" viewBox="0 0 100 9" preserveAspectRatio="none" '
        f'aria-label="{escape(description)}">{"".join(parts)}</svg>'
    )


def _svg(
    title: str, description: str, height: int, parts: Sequence[str], width: int = WIDTH
) -> Markup:
    kind = "dsocr-chart" if width == WIDTH else "dsocr-chart dsocr-long"
    return Markup(
        f'<svg class="{kind}" role="img" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )
