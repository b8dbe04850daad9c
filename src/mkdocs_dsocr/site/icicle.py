"""The module tree as an icicle: every node as wide as its share, its children below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node, Totals
from mkdocs_dsocr.site import svg, units

WIDTH: Final = 1000
ROW: Final = 24
LETTER: Final = 7.5
"""Width of a letter."""
LEAST: Final = 4.0
"""Boxes narrower than this are omitted."""


@dataclass(frozen=True)
class Measure:
    """The figure that gives the width of the boxes."""

    name: str
    of: Callable[[Totals], float]
    write: Callable[[float], str]


MEASURES: Final = (
    Measure("device time", lambda t: t.device_time_ms, units.milliseconds),
    Measure("FLOPs", lambda t: t.flops, units.flops),
    Measure("bytes moved", lambda t: t.io_bytes, units.bytes_),
    Measure("weights", lambda t: t.weight_bytes, units.bytes_),
)


def icicle(nodes: Mapping[str, Node], measure: Measure, layer_link: Callable[[str], str]) -> Markup:
    """Return the tree of `nodes` as a chart.

    Parameters
    ----------
    nodes
        By ``module_id``, parents first; the first is the root.
    measure
        The figure that gives the width of a box.
    layer_link
        Returns the link to the page of a module class.
    """
    root = next(iter(nodes))
    whole = measure.of(nodes[root].total)
    if not whole:
        return Markup("")
    boxes = list(_boxes(nodes, measure, root, 0, 0.0, WIDTH / whole))
    largest = sorted((b for b in boxes if b.depth), key=lambda b: -b.amount)[:6]
    words = {
        b.module_id: f"{b.module_id}: {measure.write(b.amount)}, {units.percent(b.amount / whole)}"
        for b in boxes
    }
    return svg.chart(
        "dsocr-icicle",
        f"The module tree by {measure.name}",
        "; ".join(words[b.module_id] for b in largest),
        (WIDTH, ROW * (max(b.depth for b in boxes) + 1)),
        *(_drawn(b, nodes[b.module_id], words[b.module_id], whole, layer_link) for b in boxes),
        role="group",
    )


@dataclass(frozen=True)
class _Box:
    module_id: str
    depth: int
    x: float
    width: float
    amount: float


def _boxes(
    nodes: Mapping[str, Node], measure: Measure, name: str, depth: int, x: float, scale: float
) -> Iterator[_Box]:
    amount = measure.of(nodes[name].total)
    if amount * scale < LEAST:
        return
    yield _Box(name, depth, x, amount * scale, amount)
    # A module that runs in several passes has its weights once, so children may exceed their
    # parent: they are scaled to stay inside its box.
    inside = sum(measure.of(nodes[child].total) for child in nodes[name].children)
    scale = min(scale, amount * scale / inside) if inside else scale
    for child in nodes[name].children:
        yield from _boxes(nodes, measure, child, depth + 1, x, scale)
        x += measure.of(nodes[child].total) * scale


def _drawn(
    box: _Box, node: Node, words: str, whole: float, layer_link: Callable[[str], str]
) -> Markup:
    name, y = node.visit.child.name, box.depth * ROW
    labels = (f"{name} {units.percent(box.amount / whole)}", name)
    fitting = [label for label in labels if len(label) * LETTER <= box.width - 6]
    marks = (
        svg.rect(box.x, y, box.width, ROW - 1, svg.stage_colour(node.stage)),
        *(svg.text(box.x + 4, y + 16, label) for label in fitting[:1]),
        svg.tooltip(words),
    )
    if node.class_name == "Group":
        return svg.element("g", *marks)
    return svg.link(layer_link(node.class_name), *marks, tabindex=-1)
