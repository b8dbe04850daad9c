"""What a review is of, and whether it still is: formulas as text, compared row by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mkdocs_dsocr.inputs.reviews import Entry, Reviews, load_reviews
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.operations import Keep, Operation
from mkdocs_dsocr.layers.parts import Child
from mkdocs_dsocr.quantities import Symbol, total
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.build import NOT_MODELLED
from mkdocs_dsocr.site.forms import Form, options
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.notation import text

State = Literal["approved", "questioned", "stale", "not reviewed"]
SEPARATOR = " | "


@dataclass(frozen=True)
class Reviewed:
    """A layer or an assumption, what it is now, and what its review says.

    Attributes
    ----------
    kind, name
        ``layers`` or ``assumptions``, and which of them.
    now
        What there is to review, row by row.
    entry
        Its review, where there is one.
    changes
        What is not as it was when it was reviewed.
    """

    kind: str
    name: str
    now: Mapping[str, str]
    entry: Entry | None
    changes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        if self.entry is None:
            return "not reviewed"
        return "stale" if self.changes else self.entry.status

    @property
    def is_settled(self) -> bool:
        """Whether it was reviewed as it is now."""
        return self.state in ("approved", "questioned")

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.now)


def reviewed(analysis: Analysis, path: Path) -> list[Reviewed]:
    """Return every layer and assumption of an analysis beside its review.

    Raises
    ------
    InputError
        If the reviews file is not valid.
    """
    reviews: Reviews = load_reviews(path)
    found = [
        _compared("layers", name, layer_rows(page.forms), reviews.layers.get(name))
        for name, page in layer_pages(analysis).items()
    ]
    found += [
        _compared("assumptions", name, {name: words}, reviews.assumptions.get(name))
        for name, words in NOT_MODELLED.items()
    ]
    return found


def fingerprint(rows: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that another set of rows does not have."""
    return hashlib.sha256(json.dumps(sorted(rows.items())).encode()).hexdigest()[:16]


def layer_rows(forms: list[Form]) -> dict[str, str]:
    """Return what there is to review of a layer: formulas in its symbols, and its rationale."""
    result: dict[str, str] = {}
    for form in forms:
        layer = form.example.layer
        chosen = ", ".join(f"{k} = {v}" for k, v in options(layer).items())
        title = f"{form.name} ({chosen})" if chosen else form.name
        for name, words in _rows(layer.symbolic()):
            key = f"{title}{SEPARATOR}{name}"
            again = 2
            while key in result:
                key, again = f"{title}{SEPARATOR}{name} ({again})", again + 1
            result[key] = words
    return result


def _rows(layer: BaseLayer) -> Iterator[tuple[str, str]]:
    for part in layer.forward():
        if isinstance(part, Operation):
            yield f"{part.name}, FLOPs", text(total((part.matmul_flops, part.elementwise_flops)))
            yield f"{part.name}, bytes", text(part.eager_bytes)
        elif isinstance(part, Child):
            yield f"{part.name}, a call", _call(part)
    for kernel in layer.kernels():
        yield f"{kernel.name}, bytes of the kernel", text(kernel.io_bytes)
    kept = [p for p in layer.parts if isinstance(p, Keep)]
    if kept:
        yield "kept in memory", "; ".join(", ".join(t.name for t in k.tensors) for k in kept)
    own = total(p.elements for p in layer.parameters())
    yield "parameters", text(own)
    yield "KV cache", text(tree.resident(layer, metrics.kvcache_bytes))
    for name, words in layer.rationale._asdict().items():
        yield name.replace("_", " "), words


def _call(part: Child) -> str:
    arguments = ", ".join(
        f"{dimension.symbol} ← {text(value)}"
        for field, dimension in part.layer.dimensions().items()
        if (value := getattr(part.layer, field)) != Symbol(dimension.symbol)
    )
    return f"{part.layer.class_name()}({arguments}) × {part.count} × {part.calls}"


def _compared(kind: str, name: str, now: Mapping[str, str], entry: Entry | None) -> Reviewed:
    if entry is None:
        return Reviewed(kind, name, now, None)
    if not entry.reviewed:
        same = entry.fingerprint == fingerprint(now)
        return Reviewed(kind, name, now, entry, () if same else ("something changed",))
    if entry.fingerprint != fingerprint(entry.reviewed):
        return Reviewed(kind, name, now, entry, ("the entry's fingerprint is not of its rows",))
    return Reviewed(kind, name, now, entry, tuple(_changes(entry.reviewed, now)))


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Yield what differs; a form that this workload does not show is none of its business."""
    shown = {key.partition(SEPARATOR)[0] for key in now}
    for key, words in now.items():
        if key not in before:
            yield f"{key}: new, {words}"
        elif before[key] != words:
            yield f"{key}: was {before[key]}, is {words}"
    for key, words in before.items():
        if key not in now and key.partition(SEPARATOR)[0] in shown:
            yield f"{key}: gone, was {words}"
