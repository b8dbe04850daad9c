"""The flow of tensors through a layer's operations."""

from __future__ import annotations

import itertools
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
LETTERS: Final = 44

Running = Operation | Child


@dataclass(frozen=True)
class _Box:
    """A child, or the operations of one kernel."""

    label: str
    parts: tuple[Running, ...]


@dataclass(frozen=True)
class _Arrow:
    """A tensor from the box that writes its storage (-1: an input) to one that reads it."""

    tensor: str
    storage: str
    start: int
    end: int

    @property
    def passes(self) -> bool:
        return self.end - self.start > 1


def dataflow(layer: Layer, title: str, target: Callable[[Running], str]) -> Markup:
    """Return the layer's kernels and children from top to bottom, arrows for their tensors.

    Parameters
    ----------
    layer, title
        The layer, and what the chart shows.
    target
        Returns the link of an operation or a child.

    Returns
    -------
    Nothing for a layer of fewer than two operations and children.
    """
    boxes = _boxes([p for p in layer.schedule if not isinstance(p, Keep)])
    if len(boxes) < 2:
        return Markup("")
    arrows = list(_arrows(boxes))
    lanes = _lanes([a for a in arrows if a.passes])
    left = LANE * (max(lanes.values(), default=-1) + 2)
    inputs = dict.fromkeys(a.storage for a in arrows if a.start < 0)
    outputs = [tensor.name for tensor in boxes[-1].parts[-1].writes]
    whence = ["outside", *(box.label for box in boxes)]
    described = "; ".join(
        f"{a.tensor} from {whence[a.start + 1]} to {whence[a.end + 1]}" for a in arrows if a.passes
    )
    width, height = left + BOX[0] + LANE, STEP * (len(boxes) + 1) + 16
    drawn = svg.chart(
        "dsocr-flow",
        title,
        described or "one after another",
        (width, height),
        *(_line(a, left, lanes.get(a)) for a in arrows),
        *(_drawn(box, left, STEP * (i + 1), target) for i, box in enumerate(boxes)),
        _words(left, 16, ", ".join(inputs)),
        _words(left, STEP * (len(boxes) + 1) + 8, ", ".join(outputs)),
        role="group",
        width=width,
    )
    return svg.wide(title, drawn)


def _boxes(parts: Sequence[Running]) -> list[_Box]:
    """Return a box for each child and each kernel; where all is one, for each operation."""

    def kernel(part: Running) -> str | int:
        return (part.kernel if isinstance(part, Operation) else "") or id(part)

    groups = [tuple(group) for _, group in itertools.groupby(parts, kernel)]
    if len(groups) == 1:
        groups = [(part,) for part in parts]
    return [
        _Box(
            group[0].name if len(group) == 1 else f"{kernel(group[0])}: {len(group)} operations",
            group,
        )
        for group in groups
    ]


def _arrows(boxes: Sequence[_Box]) -> Iterator[_Arrow]:
    """Yield an arrow for each activation that a box reads."""
    writers: dict[str, int] = {}
    for index, box in enumerate(boxes):
        read: dict[tuple[str, int], str] = {}
        for part in box.parts:
            for tensor in part.reads:
                if tensor.role in ("activation", "kv_cache"):
                    storage = tensor.view_of or tensor.name
                    read.setdefault((storage, writers.get(storage, -1)), tensor.name)
            for tensor in part.writes:
                writers[tensor.view_of or tensor.name] = index
        for (storage, start), tensor_name in read.items():
            if start != index:
                yield _Arrow(tensor_name, storage, start, index)


def _lanes(arrows: Sequence[_Arrow]) -> dict[_Arrow, int]:
    """Return a lane next to the boxes for each arrow that passes some; lanes do not overlap."""
    lanes: dict[_Arrow, int] = {}
    for arrow in sorted(arrows, key=lambda a: a.end - a.start):
        taken = {
            lanes[other] for other in lanes if other.start < arrow.end and arrow.start < other.end
        }
        lanes[arrow] = next(n for n in range(len(arrows)) if n not in taken)
    return lanes


def _drawn(box: _Box, left: int, y: int, target: Callable[[Running], str]) -> Markup:
    first = box.parts[0]
    kind = "dsocr-call" if isinstance(first, Child) else None
    rect, words = svg.rect(left, y, *BOX, kind, rx=4), _words(left, y + 17, box.label)
    return svg.link(target(first), rect, words)


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
