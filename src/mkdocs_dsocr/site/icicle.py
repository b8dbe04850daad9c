"""The module tree as an icicle: every node as wide as its share, its children below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from mkdocs_dsocr.cost.totals import Node, Totals
from mkdocs_dsocr.site import units

WIDTH: Final = 1000
ROW: Final = 24
LETTER: Final = 7.5
"""Width of a letter, for what fits a box."""
LEAST: Final = 2.0
"""Boxes narrower than this are left out."""


@dataclass(frozen=True)
class Measure:
    """What the boxes are as wide as."""

    name: str
    of: Callable[[Totals], float]
    write: Callable[[float], str]


MEASURES: Final = (
    Measure("device time", lambda t: t.device_time_ms, units.milliseconds),
    Measure("FLOPs", lambda t: t.flops, units.flops),
    Measure("bytes moved", lambda t: t.io_bytes, units.bytes_),
    Measure("weights", lambda t: t.weight_bytes, units.bytes_),
)
STAGE_COLOURS: Final = {"vision": 0, "projector": 1, "prefill": 2, "decode": 3}


def icicle(nodes: Mapping[str, Node], measure: Measure, link: Callable[[str], str]) -> Markup:
    """Return the tree of `nodes` (parents first) as a picture.

    Parameters
    ----------
    nodes
        By ``module_id``; the first is the root.
    measure
        What a box is as wide as.
    link
        Gives the page of a module class.
    """
    root = next(iter(nodes))
    whole = measure.of(nodes[root].total)
    if not whole:
        return Markup("")
    boxes = list(_boxes(nodes, measure, root, 0, 0.0, WIDTH / whole))
    depth = max(b.depth for b in boxes) + 1
    parts = [_drawn(box, nodes[box.module_id], measure, whole, link) for box in boxes]
    top = sorted((b for b in boxes if b.depth), key=lambda b: -b.amount)[:6]
    words = "; ".join(
        f"{b.module_id}: {measure.write(b.amount)}, {units.percent(b.amount / whole)}" for b in top
    )
    title = f"The module tree by {measure.name}"
    return Markup(
        f'<svg class="dsocr-icicle" role="group" viewBox="0 0 {WIDTH} {ROW * depth}" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(parts)}</svg>"
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
    # A module that runs in several passes has its weights once: what stands in a box stays in it.
    inside = sum(measure.of(nodes[child].total) for child in nodes[name].children)
    scale = min(scale, amount * scale / inside) if inside else scale
    for child in nodes[name].children:
        yield from _boxes(nodes, measure, child, depth + 1, x, scale)
        x += measure.of(nodes[child].total) * scale


def _drawn(
    box: _Box, node: Node, measure: Measure, whole: float, link: Callable[[str], str]
) -> str:
    name = node.visit.child.name
    share = units.percent(box.amount / whole)
    colour = STAGE_COLOURS.get(node.stage, 7)
    y = box.depth * ROW
    words = f"{box.module_id}: {measure.write(box.amount)}, {share}"
    label = f"{name} {share}"
    if len(label) * LETTER > box.width - 6:
        label = name if len(name) * LETTER <= box.width - 6 else ""
    drawn = (
        f'<rect class="dsocr-c{colour}" x="{box.x:.1f}" y="{y}" width="{box.width:.1f}" '
        f'height="{ROW - 1}" fill-opacity="{1 - 0.09 * (box.depth % 4):.2f}"/>'
        + (f'<text x="{box.x + 4:.1f}" y="{y + 16}">{escape(label)}</text>' if label else "")
        + f"<title>{escape(words)}</title>"
    )
    if node.class_name == "Group":
        return f"<g>{drawn}</g>"
    return f'<a xlink:href="{escape(link(node.class_name))}" tabindex="-1">{drawn}</a>'
