"""Which module class calls which, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.layers.builtin import Group, ModuleList, Sequential
from mkdocs_dsocr.site import svg, units

BOX: Final = (158, 38)
GAP: Final = (22, 8)

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
    places = {
        name: (x * (BOX[0] + GAP[0]), (y + (height - len(column)) / 2) * (BOX[1] + GAP[1]) + 2)
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    words = {
        (a, b): f"{a} calls {b} {units.integer(count)} times" for (a, b), count in found.items()
    }
    calls: Counter[str] = Counter()
    for (_, callee), count in found.items():
        calls[callee] += count
    width = len(columns) * (BOX[0] + GAP[0]) - GAP[0]
    return svg.chart(
        "dsocr-graph",
        "Which module class calls which",
        "; ".join(words.values()),
        (width, height * (BOX[1] + GAP[1])),
        *(_line(places[a], places[b], words[a, b]) for a, b in found),
        *(_box(name, calls[name], place, layer_link(name)) for name, place in places.items()),
        role="group",
        style=f"min-width:{width * 0.72:.0f}px",
    )


def _box(name: str, calls: int, place: tuple[float, float], target: str) -> Markup:
    (x, y), middle = place, place[0] + BOX[0] / 2
    often = f"× {units.scaled_count(calls)}" if calls else ""
    return svg.link(
        target,
        svg.rect(x, y, *BOX, "dsocr-box", rx=4),
        svg.text(middle, y + 16, name),
        svg.text(middle, y + 31, often, class_="dsocr-count"),
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


def _line(start: tuple[float, float], end: tuple[float, float], words: str) -> Markup:
    x1, y1 = start[0] + BOX[0], start[1] + BOX[1] / 2
    x2, y2, bend = end[0], end[1] + BOX[1] / 2, GAP[0] / 2
    path = f"M{x1},{y1:.1f} C{x1 + bend},{y1:.1f} {x2 - bend},{y2:.1f} {x2},{y2:.1f}"
    return svg.element("g", svg.element("path", class_="dsocr-edge", d=path), svg.tooltip(words))
