"""Bar charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mkdocs_dsocr.site import svg


@dataclass(frozen=True)
class Bar:
    """A bar or a part of one: its label, amount, amount in words, and class of colour."""

    label: str
    amount: float
    value: str
    kind: str = svg.colour(0)


def bars(title: str, items: Sequence[Bar]) -> Markup:
    """Return a table with a row for each amount: its label, a bar, and the amount in words.

    A bar is as long as its share of the largest amount. An amount of 0 has no bar.
    """
    largest = max((bar.amount for bar in items), default=0) or 1
    rows = (
        Markup("<tr><th>{}</th><td>{}</td><td>{}</td></tr>").format(
            bar.label, strip(f"{_plain(bar)}: {bar.value}", [bar], largest), bar.value
        )
        for bar in items
    )
    return Markup('<table class="dsocr-bars" aria-label="{}"><tbody>{}</tbody></table>').format(
        title, Markup("").join(rows)
    )


def stacked(title: str, items: Sequence[Bar]) -> Markup:
    """Return one bar of parts, and its legend."""
    drawn = strip(
        f"{title}: {_described(items)}", items, sum(b.amount for b in items), "dsocr-band"
    )
    return drawn + svg.legend({f"{bar.label}: {bar.value}": bar.kind for bar in items})


def stacked_rows(
    title: str, rows: Sequence[tuple[str, Sequence[Bar]]], kinds: Mapping[str, str]
) -> Markup:
    """Return a bar of parts for each row, as long as its sum, and the legend.

    Parameters
    ----------
    title
        What the chart shows.
    rows
        Label and parts of each row.
    kinds
        The class of colour of each label of a part.
    """
    longest = max((sum(b.amount for b in parts) for _, parts in rows), default=0) or 1
    lines = (
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(
            label, strip(f"{label}: {_described(parts)}", parts, longest)
        )
        for label, parts in rows
    )
    table = Markup('<table class="dsocr-bars" aria-label="{}"><tbody>{}</tbody></table>')
    return table.format(title, Markup("").join(lines)) + svg.legend(kinds)


def strip(
    description: str, parts: Sequence[Bar], whole: float, kind: str = "dsocr-strip"
) -> Markup:
    """Return a bar of parts, as long as its share of `whole`; each part has a tooltip."""
    marks = [svg.tooltip(description)]
    x = 0.0
    for part in parts:
        width = 100 * part.amount / (whole or 1)
        if width:
            words = svg.tooltip(f"{_plain(part)}: {part.value}")
            marks.append(svg.rect(x, 0, width, 9, part.kind, words))
        x += width
    more = {"viewBox": "0 0 100 9", "preserveAspectRatio": "none", "aria_label": description}
    return svg.element("svg", *marks, class_=kind, role="img", **more)


def _described(items: Sequence[Bar]) -> str:
    return "; ".join(f"{_plain(b)}: {b.value}" for b in items)


def _plain(bar: Bar) -> str:
    return bar.label.striptags() if isinstance(bar.label, Markup) else bar.label
