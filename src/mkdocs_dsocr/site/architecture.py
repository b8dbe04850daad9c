"""The model as a diagram: a row per stage, and a box per component, sized by its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.cost.time import CEILINGS
from mkdocs_dsocr.cost.totals import Node, Totals, merged
from mkdocs_dsocr.layers.builtin import Group, ModuleList
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import svg, units

WIDTH: Final = 1000
LABEL: Final = 144
ROOM: Final = WIDTH - LABEL - 2
ROW: Final = 62
BOX: Final = 46
GAP: Final = 16
LETTER: Final = 7.2
LEAST: Final = 0.02
"""Components with less of a stage's device time share one box."""
OPENED: Final = frozenset({"model", "language_model", "vision_tower"})
"""Names of modules that only hold the components."""
BOUND: Final = {name: f"dsocr-bound-{index}" for index, name in enumerate(CEILINGS)}
"""The class of colour of each ceiling."""


@dataclass(frozen=True)
class Component:
    """Modules of one class in a stage, children included."""

    class_name: str
    modules: int
    total: Totals


def components(analysis: Analysis, stage: str) -> list[Component]:
    """Return the components that a stage runs, in the order of their first run."""
    found: dict[str, list[Node]] = {}
    for node in _below(analysis, stage):
        found.setdefault(node.class_name, []).append(node)
    return [
        Component(
            name,
            sum({n.visit.torch_path: n.visit.instances for n in nodes}.values()),
            merged(n.total for n in nodes),
        )
        for name, nodes in found.items()
    ]


def _below(analysis: Analysis, module_id: str) -> Iterator[Node]:
    """Yield the components below a node; lists, passes and layers of a list are opened."""
    for name in analysis.nodes[module_id].children:
        node = analysis.nodes[name]
        is_list = isinstance(analysis.nodes[module_id].visit.layer, ModuleList)
        is_opened = is_list or node.visit.child.name in OPENED
        is_opened = is_opened or isinstance(node.visit.layer, Group | ModuleList)
        if node.children and is_opened:
            yield from _below(analysis, name)
        else:
            yield node


def architecture(analysis: Analysis, layer_link: Callable[[str], str]) -> Markup:
    """Return the stages as rows of boxes that lead to the layers' pages."""
    stages = [s for s, t in analysis.stage_times.items() if t.time_ms and s in analysis.nodes]
    if not stages:
        return Markup("")
    marks = [
        mark
        for index, stage in enumerate(stages)
        for mark in _row(analysis, stage, index * ROW, layer_link)
    ]
    words = "; ".join(
        f"{stage}: " + ", ".join(c.class_name for c in components(analysis, stage))
        for stage in stages
    )
    title = "The model: components by stage"
    size = (WIDTH, ROW * len(stages))
    drawn = svg.chart("dsocr-architecture", title, words, size, *marks, role="group")
    return svg.wide(title, drawn) + svg.legend({f"bound by {n}": kind for n, kind in BOUND.items()})


def _row(
    analysis: Analysis, stage: str, y: float, layer_link: Callable[[str], str]
) -> Iterator[Markup]:
    t = analysis.stage_times[stage]
    share = units.percent(t.time_ms / analysis.predicted_ms)
    yield svg.rect(0, y, 6, BOX, svg.stage_colour(stage))
    yield svg.text(14, y + 19, stage, class_="dsocr-strong")
    yield svg.text(14, y + 37, f"{units.milliseconds(t.time_ms)}, {share}")
    found = components(analysis, stage)
    whole = analysis.stage_totals[stage].device_time_ms or 1.0
    large = _large(found, whole)
    small = [c for c in found if c not in large]
    labels = [(_label(c), units.percent(c.total.device_time_ms / whole)) for c in large]
    if small:
        rest = sum(c.total.device_time_ms for c in small) / whole
        labels.append((f"{len(small)} more", units.percent(rest)))
    shares = [c.total.device_time_ms / whole for c in large] + [0.0] * bool(small)
    x = float(LABEL)
    for index, (label, width) in enumerate(zip(labels, _widths(labels, shares), strict=True)):
        if index:
            yield svg.line("dsocr-edge", x - GAP, y + BOX / 2, x, y + BOX / 2)
        if index < len(large):
            one = large[index]
            yield svg.link(layer_link(one.class_name), *_box(x, y, width, label, one))
        else:
            names = ", ".join(_label(c) for c in small)
            yield svg.element("g", *_box(x, y, width, label), svg.tooltip(names))
        x += width + GAP


def _large(found: list[Component], whole: float) -> list[Component]:
    """Return the components that have a box of their own, as many as fit the row."""
    large = [c for c in found if c.total.device_time_ms >= LEAST * whole]
    while len(large) > 1:
        labels = [(_label(c), "") for c in large] + [("99 more", "")] * (len(large) < len(found))
        if sum(_least(labels)) + GAP * (len(labels) - 1) <= ROOM:
            break
        large.remove(min(large, key=lambda c: c.total.device_time_ms))
    return large


def _least(labels: list[tuple[str, str]]) -> list[float]:
    """Return the widths that the labels need."""
    return [LETTER * max(map(len, label)) + 14 for label in labels]


def _label(component: Component) -> str:
    count = f" × {component.modules}" if component.modules > 1 else ""
    return f"{component.class_name}{count}"


def _widths(labels: list[tuple[str, str]], shares: list[float]) -> list[float]:
    """Return widths that fit the labels; what room is left is given out by share."""
    least = _least(labels)
    room = ROOM - GAP * (len(labels) - 1) - sum(least)
    return [width + max(0.0, room) * share for width, share in zip(least, shares, strict=True)]


def _box(
    x: float, y: float, width: float, label: tuple[str, str], component: Component | None = None
) -> Iterator[Markup]:
    yield svg.rect(x, y, width, BOX, "dsocr-box", rx=3)
    if component is not None:
        ceiling = component.total.binding_ceiling
        yield svg.rect(x, y + BOX - 6, width, 6, BOUND[ceiling])
        time = units.milliseconds(component.total.device_time_ms)
        yield svg.tooltip(f"{label[0]}: {time} of device time, {label[1]}, bound by {ceiling}")
    yield svg.text(x + 7, y + 17, label[0])
    yield svg.text(x + 7, y + 34, label[1], class_="dsocr-count")
