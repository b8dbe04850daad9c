"""The flow of tensors through a layer's operations, as a small picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.operations import Keep, Operation
from mkdocs_dsocr.layers.parts import Child

BOX: Final = (300, 24)
STEP: Final = 40
LANE: Final = 12
"""Room for an arrow that passes by a box."""
LETTERS: Final = 44

Running = Operation | Child


@dataclass(frozen=True)
class _Arrow:
    """A tensor from the part that writes it (-1: an input) to one that reads it."""

    tensor: str
    start: int
    end: int

    @property
    def passes(self) -> bool:
        return self.end - self.start > 1


def dataflow(layer: BaseLayer, title: str, target: Callable[[int, Running], str]) -> Markup:
    """Return the layer's operations and children from top to bottom, arrows for their tensors.

    Parameters
    ----------
    layer, title
        The layer, and what the picture is called.
    target
        Gives the link of a part by its place.

    Returns
    -------
    Nothing for a layer of fewer than two parts.
    """
    parts = [p for p in layer.parts if not isinstance(p, Keep)]
    if len(parts) < 2:
        return Markup("")
    arrows = list(_arrows(parts))
    lanes = _lanes([a for a in arrows if a.passes])
    left = LANE * (max(lanes.values(), default=-1) + 2)
    drawn = [*_kernels(layer, parts, left)]
    drawn += [_drawn(a, left, lanes.get(a)) for a in arrows]
    for index, part in enumerate(parts):
        name = _short(part.name)
        kind = "dsocr-box dsocr-call" if isinstance(part, Child) else "dsocr-box"
        y = STEP * (index + 1)
        drawn.append(
            f'<a href="{escape(target(index, part))}"><rect class="{kind}" x="{left}" y="{y}" '
            f'width="{BOX[0]}" height="{BOX[1]}" rx="4"/><text x="{left + BOX[0] / 2}" '
            f'y="{y + 17}" text-anchor="middle">{escape(name)}</text></a>'
        )
    inputs = dict.fromkeys(a.tensor for a in arrows if a.start < 0)
    for y, names in ((16, list(inputs)), (STEP * (len(parts) + 1) + 8, _outputs(parts))):
        words = _short(", ".join(names))
        drawn.append(
            f'<text x="{left + BOX[0] / 2}" y="{y}" text-anchor="middle">{escape(words)}</text>'
        )
    whence = ["outside", *(p.name for p in parts)]
    words = "; ".join(
        f"{a.tensor} from {whence[a.start + 1]} to {parts[a.end].name}" for a in arrows
    )
    width, height = left + BOX[0] + 130, STEP * (len(parts) + 1) + 16
    return Markup(
        f'<svg class="dsocr-flow" role="group" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(words)}</desc>{''.join(drawn)}</svg>"
    )


def _outputs(parts: Sequence[Running]) -> list[str]:
    return [t.name for t in parts[-1].writes]


def _short(words: str) -> str:
    return words if len(words) <= LETTERS else f"{words[: LETTERS - 1]}…"


def _arrows(parts: Sequence[Running]) -> Iterator[_Arrow]:
    """Yield an arrow for each activation that a part reads."""
    writers: dict[str, int] = {}
    for index, part in enumerate(parts):
        for tensor in part.reads:
            if tensor.role in ("activation", "kv_cache"):
                storage = tensor.view_of or tensor.name
                yield _Arrow(tensor.name, writers.get(storage, -1), index)
        for tensor in part.writes:
            writers[tensor.view_of or tensor.name] = index


def _lanes(arrows: Sequence[_Arrow]) -> dict[_Arrow, int]:
    """Return a lane beside the boxes for each arrow that passes some: no two at once in one."""
    lanes: dict[_Arrow, int] = {}
    for arrow in sorted(arrows, key=lambda a: a.end - a.start):
        taken = {
            lanes[other] for other in lanes if other.start < arrow.end and arrow.start < other.end
        }
        lanes[arrow] = next(n for n in range(len(arrows)) if n not in taken)
    return lanes


def _drawn(arrow: _Arrow, left: int, lane: int | None) -> str:
    y1 = STEP * (arrow.start + 1) + (BOX[1] if arrow.start >= 0 else BOX[1] - 4)
    y2 = STEP * (arrow.end + 1)
    title = f"<title>{escape(arrow.tensor)}</title>"
    if lane is None:
        x = left + BOX[0] / 2
        return f'<g><path class="dsocr-edge" d="M{x},{y1} V{y2}"/>{title}</g>'
    x, middle = left - LANE * (lane + 1), y2 + BOX[1] / 2
    start = y1 - BOX[1] / 2 if arrow.start >= 0 else y1
    path = f"M{left},{start} H{x} V{middle} H{left}"
    return f'<g><path class="dsocr-edge" d="{path}"/>{title}</g>'


def _kernels(layer: BaseLayer, parts: Sequence[Running], left: int) -> Iterator[str]:
    """Yield a bracket beside the operations of each fused kernel, with its name."""
    places = {id(part): index for index, part in enumerate(parts)}
    for kernel in layer.kernels():
        found = [places[id(o)] for o in kernel.operations if id(o) in places]
        if len(found) < 2:
            continue
        x, y1, y2 = left + BOX[0] + 8, STEP * (min(found) + 1) + 2, STEP * (max(found) + 1)
        yield (
            f'<path class="dsocr-edge" d="M{x},{y1} h6 V{y2 + BOX[1] - 2} h-6"/>'
            f'<text x="{x + 12}" y="{(y1 + y2 + BOX[1]) / 2 + 4:.0f}">one kernel'
            f"<title>{escape(kernel.name)}</title></text>"
        )
