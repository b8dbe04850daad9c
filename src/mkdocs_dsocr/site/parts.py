"""What the device time of a module class consists of, as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.layers.builtin import ModuleList
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.charts import Bar, bars

MOST_PARTS = 3


class Part(NamedTuple):
    """A child, or an operator family of the class's own work; children have a class."""

    name: str
    class_name: str
    is_own: bool


def times_of(analysis: Analysis, outermost: Iterable[Node]) -> dict[Part, float]:
    """Return the parts of some nodes and their device time in ms, the longest first."""
    times: dict[Part, float] = {}
    for node in outermost:
        for name, family in node.own.families.items():
            part = Part(CATEGORIES[name].display_name, "", is_own=True)
            times[part] = times.get(part, 0.0) + family.device_time_ms
        for child in (analysis.nodes[c] for c in node.children):
            part = Part(child.visit.child.name, _class_of_items(analysis, child), is_own=False)
            times[part] = times.get(part, 0.0) + child.total.device_time_ms
    return {part: times[part] for part in sorted(times, key=lambda p: -times[p]) if times[part]}


def _class_of_items(analysis: Analysis, node: Node) -> str:
    """Return the class of a module, or of a list's first item; nothing for a pass."""
    while isinstance(node.visit.layer, ModuleList) and node.children:
        node = analysis.nodes[node.children[0]]
    return node.class_name if node.visit.layer.is_module else ""


def part_bars(title: str, times: dict[Part, float], layer_link: Callable[[str], str]) -> Markup:
    """Return the largest parts as bars; names of classes are links."""
    whole, items = sum(times.values()), []
    for part, ms in list(times.items())[:MOST_PARTS]:
        label = Markup("{} (own)" if part.is_own else "{}").format(part.name)
        if part.class_name:
            link = Markup('<a href="{}">{}</a>')
            label += " " + link.format(layer_link(part.class_name), part.class_name)
        words = f"{units.percent(ms / whole)}, {units.milliseconds(ms)}"
        items.append(Bar(label, ms / whole, words))
    return bars(title, items)
