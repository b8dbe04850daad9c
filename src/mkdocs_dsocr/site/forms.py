"""The forms of a module class: one table of formulas for each kind of analytic layer.

A class may have several: with and without bias, windowed and global, dense and
routed. Each form is shown in its own symbols, with the numbers of the node that
takes most of the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.layers import backward, memory, metrics, tree
from mkdocs_dsocr.layers.builtin import Group, ModuleList, Sequential
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.layers.layer import Child, Layer, Rationale
from mkdocs_dsocr.layers.operations import Keep, Operation, whole
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.quantities import Quantity, Symbol, is_zero, symbols, total
from mkdocs_dsocr.resources import docstring
from mkdocs_dsocr.site import notation, units
from mkdocs_dsocr.site.collect import collected, terms
from mkdocs_dsocr.site.rows import (
    ChildRow,
    Formula,
    KernelRow,
    LiveRow,
    OperationRow,
    PeakRows,
    SymbolRow,
    Table,
    TotalRow,
)
from mkdocs_dsocr.site.variants import variant

MOST_TERMS = 8
MOST_PARTS = 24
"""Totals of more terms than this are left to the table: a sum nobody reads is no help."""


@dataclass(frozen=True)
class Form:
    """One kind of analytic layer behind a module class, ready to be shown."""

    name: str
    summary: str
    details: str
    variant: str
    example: NodeVisit
    rationale: Rationale
    symbols: tuple[SymbolRow, ...]
    rows: tuple[OperationRow | ChildRow, ...]
    kernels: tuple[KernelRow, ...]
    totals: tuple[TotalRow, ...]
    peak: PeakRows | None

    def has(self, table: Table) -> bool:
        """Tell whether the form has rows of its own in a table; children have theirs elsewhere."""
        return bool({"operations": self.rows, "kernels": self.kernels}.get(table, self.fused))

    @cached_property
    def flow(self) -> tuple[str, ...]:
        """The names of the operations and children, in order."""
        return tuple(
            part.name for part in self.example.layer.schedule if not isinstance(part, Keep)
        )

    @cached_property
    def written(self) -> dict[tuple[str, str, Markup], None]:
        """Every formula in symbols, with the kind and the name of its row, in order."""
        rows = self.operations
        return dict.fromkeys(
            [(f.unit, r.name, f.symbols) for r in rows for f in r.formulas]
            + [("kernel", k.name, k.formula.symbols) for k in self.kernels]
            + [("eager", r.name, r.eager.symbols) for r in self.fused]
            + [("total", t.name, t.formula) for t in self.totals if t.formula is not None]
            + [("peak", r.name, r.formula.symbols) for r in self.live if r.formula]
        )

    @property
    def headline(self) -> TotalRow | None:
        """The total that says most: FLOPs of products, or else of elementwise work."""
        named = {t.name: t for t in self.totals if t.formula is not None and t.value}
        return next((named[n] for n in ("matmul FLOPs", "CUDA-core FLOPs") if n in named), None)

    @property
    def live(self) -> tuple[LiveRow, ...]:
        return self.peak.rows if self.peak else ()

    @property
    def operations(self) -> list[OperationRow]:
        return [r for r in self.rows if isinstance(r, OperationRow)]

    @cached_property
    def fused(self) -> list[OperationRow]:
        """The operations that are no kernel of their own with the same bytes."""
        alone = {(k.operations, k.formula.symbols) for k in self.kernels}
        return [r for r in self.operations if ((r.name,), r.eager.symbols) not in alone]

    @property
    def whys(self) -> list[OperationRow]:
        return [r for r in self.rows if isinstance(r, OperationRow) and r.why]


def forms(nodes: Sequence[Node]) -> list[Form]:
    """Return the forms of a class: its namesake first, then the costliest."""
    groups: dict[tuple[Any, ...], list[Node]] = {}
    for node in nodes:
        groups.setdefault(form_key(node.visit), []).append(node)

    def order(group: list[Node]) -> tuple[bool, float]:
        layer = group[0].visit.layer
        special = type(layer).__name__ != layer.class_name()
        return special, -sum(n.total.time_ms for n in group)

    ordered = sorted(groups.values(), key=order)
    chosen: dict[tuple[type[Layer], str], set[Any]] = {}
    for group in ordered:
        layer = group[0].visit.layer
        for name, value in options(layer).items():
            chosen.setdefault((type(layer), name), set()).add(value)
    differing = frozenset(key for key, values in chosen.items() if len(values) > 1)
    return [_form(_example(group).visit, differing) for group in ordered]


def form_key(visit: NodeVisit) -> tuple[Any, ...]:
    """Return what tells one form from another: the layer, and the fields that choose."""
    layer = visit.layer
    if not layer.dimensions():
        return (type(layer), visit.torch_path)
    return (type(layer), *options(layer).items())


def options(layer: Layer) -> dict[str, Any]:
    """Return the fields that choose a form: neither dimensions nor other layers."""
    dimensions = layer.dimensions()
    return {
        f.name: value
        for f in dataclasses.fields(layer)
        if f.name not in dimensions and isinstance(value := getattr(layer, f.name), bool)
    }


def _example(nodes: Sequence[Node]) -> Node:
    """Return the node whose numbers are shown: the costliest, without a loop if there is one."""
    return max(nodes, key=lambda n: (n.visit.steps == 1, n.total.time_ms))


@lru_cache(maxsize=1024)
def _form(visit: NodeVisit, differing: frozenset[tuple[type[Layer], str]]) -> Form:
    """Return the form of a layer: made once, whichever GPU it is shown on."""
    layer = visit.layer
    symbolic = layer.symbolic()
    values = layer.values()
    summary, _, details = docstring(type(layer)).partition("\n\n")
    chosen = {k: v for k, v in options(layer).items() if (type(layer), k) in differing}
    return Form(
        name=type(layer).__name__,
        summary=" ".join(summary.split()),
        details=" ".join(details.split()),
        variant=variant(layer, chosen),
        example=visit,
        rationale=layer.rationale,
        symbols=tuple(_symbols(layer)),
        rows=tuple(_rows(symbolic, layer, values)),
        kernels=tuple(_kernels(symbolic, layer, values)),
        totals=tuple(_totals(symbolic, layer)),
        peak=_peak(visit),
    )


def _symbols(layer: Layer) -> Iterator[SymbolRow]:
    for name, dimension in layer.dimensions().items():
        symbol = notation.mathml(Symbol(dimension.symbol))
        value = getattr(layer, name)
        shown = units.integer(value) if isinstance(value, int) else f"{value:.4f}"
        yield SymbolRow(symbol, dimension, name, shown)


def _formula(symbolic: Quantity, value: Quantity, values: dict[str, Any], unit: str) -> Formula:
    """Return a formula and its value; one of bytes, a long sum, is written in HTML."""
    return Formula(
        (notation.html if unit == "bytes" else notation.mathml)(symbolic),
        notation.html(symbolic, values),
        value if isinstance(value, int) else 0,
        unit,
    )


def _rows(
    symbolic: Layer, concrete: Layer, values: dict[str, Any]
) -> Iterator[OperationRow | ChildRow]:
    for part, real in zip(symbolic.forward(), concrete.forward(), strict=True):
        if isinstance(part, Operation) and isinstance(real, Operation):
            yield _operation(part, real, values)
        elif isinstance(part, Child) and isinstance(real, Child):
            yield from _children(part, real)


def _operation(part: Operation, real: Operation, values: dict[str, Any]) -> OperationRow:
    core = "tensor core" if part.unit == "tensor" else "CUDA core, float32"
    formulas = [
        _formula(q, v, values, unit)
        for q, v, unit in (
            (part.matmul_flops, real.matmul_flops, core),
            (part.elementwise_flops, real.elementwise_flops, "CUDA core"),
        )
        if not is_zero(q)
    ]
    family = CATEGORIES[part.category].display_name
    eager = _formula(part.eager_bytes, real.eager_bytes, values, "bytes")
    return OperationRow(part.name, family, tuple(formulas), eager, part.why)


def _children(part: Child, real: Child, path: str = "") -> Iterator[ChildRow]:
    """Yield a row for a child, or a row for each layer in it if it only holds others."""
    name = f"{path}{part.name}"
    inner = [c.layer for c in real.layer.children()]
    stage = isinstance(real.layer, Group) and inner and all(isinstance(x, Group) for x in inner)
    if stage or isinstance(real.layer, ModuleList | Sequential):
        prefix = "" if stage else f"{name}."
        for below, below_real in zip(part.layer.children(), real.layer.children(), strict=True):
            yield from _children(below, below_real, prefix)
        return
    given, numbers = [], []
    for field, dimension in part.layer.dimensions().items():
        own, value = getattr(part.layer, field), getattr(real.layer, field)
        if own != Symbol(dimension.symbol):
            head = notation.mathml(Symbol(dimension.symbol))
            given.append(Markup("{} ← {}").format(head, notation.mathml(own)))
        numbers.append(notation.assignment(dimension.symbol, notation.grouped(value)))
    calls = list(tree.walk(Group(items=(real,))))
    yield ChildRow(
        name=name,
        class_name="" if isinstance(real.layer, Group) else part.layer.class_name(),
        count=real.count,
        repetition=real.repetition,
        runs=real.calls * real.steps,
        arguments=Markup(", ").join(given),
        numbers=Markup(", ").join(numbers),
        flops=_sum(calls, metrics.tensor_core_flops) + _sum(calls, metrics.cuda_core_flops),
    )


def _kernels(symbolic: Layer, concrete: Layer, values: dict[str, Any]) -> Iterator[KernelRow]:
    for part, real in zip(symbolic.kernels(), concrete.kernels(), strict=True):
        names = tuple(o.name for o in part.operations)
        formula = _formula(part.io_bytes, real.io_bytes, values, "bytes")
        yield KernelRow(part.name, names, formula)


def _peak(visit: NodeVisit) -> PeakRows | None:
    """Return what is in memory at the peak of the largest call; None where nothing ever is."""
    layer = visit.largest
    total, moments = memory.peak(layer).bytes, memory.moments(layer)
    if not isinstance(total, int) or not total:
        return None
    index = [moment.total for moment in moments].index(total)
    part, rows = moments[index].step, []
    formulas = memory.moments(layer.symbolic())[index].live
    for (name, size), (_, symbolic) in zip(moments[index].live, formulas, strict=True):
        if size:
            formula = _formula(symbolic, size, layer.values(), "bytes")
            rows.append(LiveRow(name, "", formula if layer.dimensions() else None, size))  # type: ignore[arg-type]
    if isinstance(part, Child):
        inner = part.biggest
        name = inner.class_name() if inner.is_module else ""
        rows.append(LiveRow(part.name, name, None, memory.peak(inner).bytes))  # type: ignore[arg-type]
    return PeakRows(memory.peak(layer).at, tuple(rows), total)


def _totals(symbolic: Layer, concrete: Layer) -> Iterator[TotalRow]:
    calls = list(tree.walk(concrete))
    for name, metric, unit in (
        ("matmul FLOPs", metrics.matmul_flops, "FLOP"),
        ("tensor-core FLOPs", metrics.tensor_core_flops, "FLOP"),
        ("CUDA-core FLOPs", metrics.cuda_core_flops, "FLOP"),
    ):
        yield _total(name, symbolic, concrete, metric, _sum(calls, metric), unit)
    padded = _sum(calls, metrics.padded_tensor_core_flops)
    yield TotalRow("tensor-core FLOPs, in whole 16 × 8 × 16 tiles", padded, "FLOP")
    bytes_: tuple[tuple[str, metrics.MetricOf, Table], ...] = (
        ("bytes that kernels read and write (timed)", metrics.io_bytes, "kernels"),
        ("bytes that eager operators read and write", metrics.eager_bytes, "eager"),
        ("compulsory bytes", metrics.least_bytes, "kernels"),
    )
    for name, of, table in bytes_:
        yield TotalRow(name, _sum(calls, of), "B", table)
    launched = _integer(whole(total(call.launched() for call in calls)))
    yield TotalRow("operators dispatched", launched, "", "eager")
    parameters = _integer(tree.resident(concrete, metrics.num_parameters))
    yield _total("parameters", symbolic, concrete, metrics.num_parameters, parameters, "")
    cache = _integer(tree.resident(concrete, metrics.kvcache_bytes))
    yield _total("KV cache after the call", symbolic, concrete, metrics.kvcache_bytes, cache, "B")
    products = _sum(calls, backward.matmul_flops)
    yield _total(
        "backward: matmul FLOPs", symbolic, concrete, backward.matmul_flops, products, "FLOP"
    )
    again = _sum(calls, backward.recompute_flops)
    yield TotalRow("backward: more, if attention computes its scores again", again, "FLOP")
    cuda = _sum(calls, backward.cuda_core_flops)
    yield TotalRow("backward: CUDA-core FLOPs (twice the elementwise ones)", cuda, "FLOP")
    moved = _sum(calls, backward.io_bytes)
    yield TotalRow("backward: bytes that kernels read and write", moved, "B", "kernels")
    saved = _integer(backward.kept(concrete).bytes)
    yield TotalRow("saved for backward, inputs included", saved, "B")


def _total(
    name: str, symbolic: Layer, concrete: Layer, metric: metrics.MetricOf, value: int, unit: str
) -> TotalRow:
    """Return a total, with its formula where there is one that is not too long to read."""
    short, parts = _summed(symbolic, metric)
    if not symbols(short) or len(terms(short)) > MOST_TERMS:
        return TotalRow(name, value, unit)
    return TotalRow(
        name,
        value,
        unit,
        formula=notation.terms(terms(short)),
        numbers=notation.html(short, concrete.values()),
        parts=notation.html(total(parts)) if len(terms(short)) < len(parts) <= MOST_PARTS else None,
    )


@lru_cache(maxsize=1024)
def _summed(symbolic: Layer, metric: metrics.MetricOf) -> tuple[Quantity, tuple[Quantity, ...]]:
    """Return a metric of all layers of a symbolic one, collected and in its parts."""
    parts: list[Quantity] = []
    for visit in tree.walk(symbolic):
        own = metric(visit.layer)
        if not is_zero(own):
            parts += terms(own) if visit.modules == 1 else [visit.modules * own]
    return collected(total(parts)), tuple(parts)


def _sum(calls: list[tree.NodeVisit], metric: metrics.MetricOf) -> int:
    return _integer(total(call.summed(metric) for call in calls))


def _integer(value: Quantity) -> int:
    assert isinstance(value, int)  # the metrics of a concrete layer are integers
    return value
