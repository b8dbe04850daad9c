"""The flow of tensors through a layer's operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from mkdocs_dsocr.layers.layer import Child, Layer
from mkdocs_dsocr.layers.operations import Keep, Operation
from mkdocs_dsocr.site import svg

BOX: Final = (300, 24)
STEP: Final = 40
LANE: Final = 12
"""Room for an arrow that passes a box."""
SIDE: Final = 104
LETTERS: Final = 44

Running = Operation | Child


@dataclass(frozen=True)
class _Arrow:
    """A tensor from the part that writes its storage (-1: an input) to one that reads it."""

    tensor: str
    storage: str
    start: int
    end: int

    @property
    def passes(self) -> bool:
        return self.end - self.start > 1


def dataflow(layer: Layer, title: str, target: Callable[[Running], str]) -> Markup:
    """Return the layer's operations and children from top to bottom, arrows for their tensors.

    Parameters
    ----------
    layer, title
        The layer, and what the chart shows.
    target
        Returns the link of a part.

    Returns
    -------
    Nothing for a layer of fewer than two parts.
    """
    parts = [p for p in layer.schedule if not isinstance(p, Keep)]
    if len(parts) < 2:
        return Markup("")
    arrows = list(_arrows(parts))
    lanes = _lanes([a for a in arrows if a.passes])
    left = LANE * (max(lanes.values(), default=-1) + 2)
    inputs = dict.fromkeys(a.storage for a in arrows if a.start < 0)
    outputs = [tensor.name for tensor in parts[-1].writes]
    whence = ["outside", *(p.name for p in parts)]
    described = "; ".join(
        f"{a.tensor} from {whence[a.start + 1]} to {parts[a.end].name}" for a in arrows if a.passes
    )
    width, height = left + BOX[0] + SIDE, STEP * (len(parts) + 1) + 16
    drawn = svg.chart(
        "dsocr-flow",
        title,
        described or "one after another",
        (width, height),
        *_kernels(layer, parts, left),
        *(_line(a, left, lanes.get(a)) for a in arrows),
        *(_box(part, left, STEP * (i + 1), target(part)) for i, part in enumerate(parts)),
        _words(left, 16, ", ".join(inputs)),
        _words(left, STEP * (len(parts) + 1) + 8, ", ".join(outputs)),
        role="group",
        width=width,
    )
    return svg.wide(title, drawn)


def _arrows(parts: Sequence[Running]) -> Iterator[_Arrow]:
    """Yield an arrow for each activation that a part reads."""
    writers: dict[str, int] = {}
    for index, part in enumerate(parts):
        for tensor in part.reads:
            if tensor.role in ("activation", "kv_cache"):
                storage = tensor.view_of or tensor.name
                yield _Arrow(tensor.name, storage, writers.get(storage, -1), index)
        for tensor in part.writes:
            writers[tensor.view_of or tensor.name] = index


def _lanes(arrows: Sequence[_Arrow]) -> dict[_Arrow, int]:
    """Return a lane next to the boxes for each arrow that passes some; lanes do not overlap."""
    lanes: dict[_Arrow, int] = {}
    for arrow in sorted(arrows, key=lambda a: a.end - a.start):
        taken = {
            lanes[other] for other in lanes if other.start < arrow.end and arrow.start < other.end
        }
        lanes[arrow] = next(n for n in range(len(arrows)) if n not in taken)
    return lanes


def _box(part: Running, left: int, y: int, target: str) -> Markup:
    kind = "dsocr-call" if isinstance(part, Child) else None
    return svg.link(target, svg.rect(left, y, *BOX, kind, rx=4), _words(left, y + 17, part.name))


def _words(left: int, y: int, words: str) -> Markup:
    short = words if len(words) <= LETTERS else f"{words[: LETTERS - 1]}…"
    return svg.text(left + BOX[0] // 2, y, short)


def _line(arrow: _Arrow, left: int, lane: int | None) -> Markup:
    top, bottom, half = STEP * (arrow.start + 1), STEP * (arrow.end + 1), BOX[1] // 2
    if lane is None:
        path = f"M{left + BOX[0] // 2},{top + BOX[1]} V{bottom}"
    else:
        path = f"M{left},{top + half} H{left - LANE * (lane + 1)} V{bottom + half} H{left}"
    return svg.element("g", svg.element("path", d=path), svg.tooltip(arrow.tensor))


def _kernels(layer: Layer, parts: Sequence[Running], left: int) -> Iterator[Markup]:
    """Yield a bracket next to the operations of each fused kernel."""
    places = {id(part): index for index, part in enumerate(parts)}
    for kernel in layer.kernels():
        found = [places[id(o)] for o in kernel.operations if id(o) in places]
        if len(found) > 1:
            x, y1, y2 = left + BOX[0] + 8, STEP * (min(found) + 1), STEP * (max(found) + 1) + BOX[1]
            yield svg.element("path", d=f"M{x},{y1} h6 V{y2} h-6")
            yield svg.text(x + 12, (y1 + y2) // 2 + 4, "one kernel", class_="dsocr-side")
