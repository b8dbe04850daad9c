"""Which module class calls which, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.layers.builtin import Group, ModuleList, Sequential
from mkdocs_dsocr.site import svg, units

HEIGHT: Final = 38
LETTER: Final = 7.4
"""Width of a letter in a box."""
GAP: Final = (30, 8)


@dataclass(frozen=True)
class _Box:
    """Left and upper edge, and the width, of a class's box."""

    x: float
    y: float
    width: float


Edges = Mapping[tuple[str, str], int]
"""Calls by caller and callee."""


def edges(nodes: Mapping[str, Node]) -> dict[tuple[str, str], int]:
    """Return how often each class calls each other one.

    Stages, passes and lists of modules stand for what calls them.
    """
    callers: dict[str, str] = {}
    found: dict[tuple[str, str], int] = {}
    for module_id, node in nodes.items():
        above = callers.get(node.visit.parent_id or "", "")
        if isinstance(node.visit.layer, Group | ModuleList | Sequential):
            callers[module_id] = above
            continue
        callers[module_id] = node.class_name
        if above:
            key = (above, node.class_name)
            found[key] = found.get(key, 0) + node.calls
    return found


def call_graph(found: Edges, layer_link: Callable[[str], str]) -> Markup:
    """Return boxes in columns, each right of all its callers, and a line for each edge."""
    columns = _columns(found)
    height = max(map(len, columns))
    widths = [LETTER * max(map(len, column)) + 16 for column in columns]
    places = {
        name: _Box(
            sum(widths[:x]) + x * GAP[0],
            (y + (height - len(column)) / 2) * (HEIGHT + GAP[1]) + 2,
            widths[x],
        )
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    words = {
        (a, b): f"{a} calls {b} {units.integer(count)} times" for (a, b), count in found.items()
    }
    calls: Counter[str] = Counter()
    for (_, callee), count in found.items():
        calls[callee] += count
    width = sum(widths) + (len(columns) - 1) * GAP[0] + 2
    return svg.chart(
        "dsocr-graph",
        "Which module class calls which",
        "; ".join(words.values()),
        (width, height * (HEIGHT + GAP[1])),
        *(_line(places[a], places[b], words[a, b]) for a, b in found),
        *(_drawn(name, calls[name], box, layer_link(name)) for name, box in places.items()),
        role="group",
        width=round(width),
    )


def _drawn(name: str, calls: int, box: _Box, target: str) -> Markup:
    middle = box.x + box.width / 2
    often = f"× {units.scaled_count(calls)}" if calls else ""
    return svg.link(
        target,
        svg.rect(box.x, box.y, box.width, HEIGHT, "dsocr-box", rx=4),
        svg.text(middle, box.y + 16, name),
        svg.text(middle, box.y + 31, often, class_="dsocr-count"),
    )


def _columns(found: Edges) -> list[list[str]]:
    """Return the classes by their longest way from the root, those of the same callers together."""
    depth: dict[str, int] = {}
    for caller, callee in found:
        depth.setdefault(caller, 0)
        depth.setdefault(callee, 0)
    for _ in depth:
        for caller, callee in found:
            depth[callee] = max(depth[callee], depth[caller] + 1)
    columns: list[list[str]] = []
    order: dict[str, float] = {}
    for level in range(max(depth.values(), default=0) + 1):
        mine = [name for name, d in depth.items() if d == level]
        above = {n: [order[a] for a, b in found if b == n] for n in mine}
        mine.sort(key=lambda n: sum(above[n]) / len(above[n]) if above[n] else 0.0)
        order |= {name: (i + 1) / (len(mine) + 1) for i, name in enumerate(mine)}
        columns.append(mine)
    return columns


def _line(start: _Box, end: _Box, words: str) -> Markup:
    x1, y1 = start.x + start.width, start.y + HEIGHT / 2
    x2, y2, bend = end.x, end.y + HEIGHT / 2, GAP[0] / 2
    path = (
        f"M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    )
    return svg.element("g", svg.element("path", class_="dsocr-edge", d=path), svg.tooltip(words))
