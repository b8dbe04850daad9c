"""One run of a pass as a program: its formulas in the symbols of sizes, formats and rates."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.base import BaseLayer, Group
from mkdocs_dsocr.layers.formats import Format
from mkdocs_dsocr.layers.operations import Kernel
from mkdocs_dsocr.layers.parts import Child
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.layers.tree import Visit
from mkdocs_dsocr.models import Batch, Load, built_pass, expected_load, model_of
from mkdocs_dsocr.quantities import (
    Apply,
    Expr,
    Number,
    Quantity,
    Symbol,
    arithmetic_series,
    ceil_div,
    exact_div,
    is_zero,
    ratio,
    total,
)
from mkdocs_dsocr.sweep.program import Program
from mkdocs_dsocr.trace import PassShape

COUNTS: Final = (
    "matmul_flops",
    "tensor_core_flops",
    "cuda_core_flops",
    "io_bytes",
    "eager_io_bytes",
    "compulsory_io_bytes",
    "dispatches",
    "synchronisations",
)
"""What adds up over the runs of a workload."""
RATES: Final = ("weight", "activation", "kv", "bf16")
"""Products by the operand whose format decides: a linear's, activations, the cache's, none."""


@dataclasses.dataclass(frozen=True)
class _SymbolicFormat(Format):
    """A format whose bytes a value, bits beside them, groups and scales are columns."""

    def bytes(self, elements: Quantity, columns: Quantity | None = None) -> Quantity:
        whole, rest = Symbol(f"{self.name}_bytes"), Symbol(f"{self.name}_rest_bits")
        # Of values that are no whole bytes the last one is filled up, of others nothing is.
        values: Quantity = whole * elements + ceil_div(rest * elements, 8)
        if columns is None:
            return values
        groups: Quantity = ceil_div(columns, Symbol(f"{self.name}_group"))
        scales = exact_div(elements, columns) * groups
        stored: Quantity = values + Symbol(f"{self.name}_scale_bytes") * scales
        return stored


class _SymbolicPrecision(Precision):
    """Formats that are columns, and rates named after whose format decides them."""

    def _common(self, other: Format) -> str:
        return other.name


@dataclasses.dataclass(frozen=True)
class Kind:
    """What decides which formulas a pass has, where its numbers are columns.

    Attributes
    ----------
    like
        A shape of integers that makes the choices.
    columns
        The sizes that are columns; the others are as in `like`.
    grown
        Of a loop, the sizes that are others in its last step.
    eager
        Whether every operation is a kernel of its own.
    """

    like: PassShape
    columns: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    eager: bool = False

    @property
    def first(self) -> PassShape:
        """What the pass is fed; of a loop, in its first step."""
        symbols: dict[str, Any] = {name: Symbol(name) for name in self.columns}
        return dataclasses.replace(self.like, **symbols)

    @property
    def last(self) -> PassShape:
        """The same of its last step."""
        symbols: dict[str, Any] = {name: Symbol(f"last_{name}") for name in self.grown}
        return dataclasses.replace(self.first, **symbols)

    @property
    def precision(self) -> Precision:
        weight, activation, kv = (_SymbolicFormat(n, 16) for n in ("weight", "activation", "kv"))
        return _SymbolicPrecision(weight, activation, kv, self.like.autocast, self.eager)


@dataclasses.dataclass(frozen=True)
class PassPrograms:
    """A pass as two programs: what it does, and how long a GPU takes for that.

    Attributes
    ----------
    work
        From sizes and formats: counts, memory, and the work of every kernel.
    time
        From the work of every kernel and the rates of a GPU: times.
    kernels
        The outputs of `work` that `time` takes.
    """

    work: Program
    time: Program
    kernels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Formulas:
    """What one call of a pass comes to; of decode, all its steps.

    Attributes
    ----------
    work
        Counts and bytes in memory, by name.
    times
        Milliseconds: on the device, and of products at the dense peaks.
    by_class
        Milliseconds on the device of each module class, without children.
    """

    work: dict[str, Quantity]
    times: dict[str, Quantity]
    by_class: dict[str, Quantity]


def formulas(config: ModelConfig, kind: Kind, works: Works) -> Formulas:
    """Return the formulas of a pass.

    Parameters
    ----------
    config, kind
        The model, and what decides which formulas there are.
    works
        Stands for each quantity that a time is made from.
    """
    is_loop = bool(kind.grown)
    first = _group(config, kind, kind.first)
    last = _group(config, kind, kind.last) if is_loop else first
    steps: Any = Symbol("steps") if is_loop else 1
    child = Child("pass", first, last=last if is_loop else None, steps=steps)
    visits = list(tree.walk(Group(items=(child,))))
    work = {name: _summed(name, visits) for name in COUNTS}
    work["activation_bytes"] = last.peak.bytes
    work["kvcache_bytes"] = tree.resident(last, metrics.kvcache_bytes)
    own: dict[str, list[Quantity]] = {}
    for visit in visits:
        own.setdefault(visit.layer.class_name(), []).append(total(_times(visit, works)))
    by_class = {name: time for name, parts in own.items() if not is_zero(time := total(parts))}
    times = {
        "device_time_ms": total(by_class.values()),
        "least_tensor_ms": total(_least_tensor_ms(v, works) for v in visits),
    }
    return Formulas(work, times, by_class)


@lru_cache(maxsize=256)
def pass_programs(config: ModelConfig, kind: Kind) -> PassPrograms:
    """Return the programs of one pass; of decode, of all its steps."""
    works = _NamedWorks()
    found = formulas(config, kind, works)
    rates = [f"{name}_{what}" for name in RATES for what in ("ms", "least_ms")]
    kernels = {k: Apply("float", (_expr(q),)) for k, q in works.quantities.items()}
    return PassPrograms(
        Program({**found.work, **kernels}),
        Program(found.times, floats=(*kernels, *rates, "cuda_ms", "memory_ms")),
        tuple(kernels),
    )


class Works:
    """Writes the quantities that a time is made from where they are used."""

    def symbol(self, quantity: Quantity) -> Quantity:
        """Return what stands for a quantity."""
        return quantity


class _NamedWorks(Works):
    """Gives a name to each quantity that a time is made from."""

    def __init__(self) -> None:
        self.quantities: dict[str, Quantity] = {}
        self._names: dict[Quantity, str] = {}

    def symbol(self, quantity: Quantity) -> Quantity:
        if not isinstance(quantity, Expr):
            return quantity
        name = self._names.setdefault(quantity, f"work_{len(self._names)}")
        self.quantities[name] = quantity
        return Symbol(name)


def weights(config: ModelConfig) -> Quantity:
    """Return the bytes of all parameters, in the symbols of their format."""
    side = config.trained_image_size
    # A page that every module is called for; its sizes do not matter to weights.
    page = Batch(1, 0, 0, side, side, 1, 1, text_tokens=1, max_new_tokens=1, last_logits=0)
    passes = [p for p in model_of(config).passes(config, page) if p.calls]
    kinds = [Kind(PassShape(p.pass_id, p.part, **p.sizes)) for p in passes]
    items = tuple(Child(k.like.pass_id, _group(config, k, k.like)) for k in kinds)
    model = dataclasses.replace(model_of(config).whole(items), precision=kinds[0].precision)
    return tree.resident(model, metrics.weight_bytes)


@lru_cache(maxsize=64)
def weights_program(config: ModelConfig) -> Program:
    """Return :func:`weights` as a program."""
    return Program({"weight_bytes": weights(config)})


def _group(config: ModelConfig, kind: Kind, shape: PassShape) -> Group:
    load = expected_load(config, shape) if shape.part == "language" else Load(0, 0)
    return built_pass(config, shape, load, kind.precision, kind.like)


def _summed(name: str, visits: list[Visit]) -> Quantity:
    """Return one of :data:`COUNTS` over all layers in one call of the pass, dispatches in all."""
    if name == "dispatches":
        # An expectation is rounded once, over all calls of the pass.
        return total(_rounded(Symbol("calls") * visit.dispatches()) for visit in visits)
    metric = {
        "matmul_flops": metrics.matmul_flops,
        "tensor_core_flops": metrics.tensor_core_flops,
        "cuda_core_flops": metrics.cuda_core_flops,
        "io_bytes": lambda layer: total(_rounded(k.io_bytes) for k in layer.kernels()),
        "eager_io_bytes": lambda layer: total(_rounded(o.eager_bytes) for o in layer.operations()),
        "compulsory_io_bytes": metrics.least_bytes,
        "synchronisations": metrics.synchronisations,
    }[name]
    series: dict[Quantity, list[Visit]] = {}
    for visit in visits:
        series.setdefault(visit.steps, []).append(visit)
    # Every layer's counts are affine in the step, and so is the sum of those of equal steps.
    return total(_series(metric, found, steps) for steps, found in series.items())


def _series(metric: metrics.MetricOf, visits: list[Visit], steps: Quantity) -> Quantity:
    """Return a metric over all layers that run in the same steps."""
    first, last = (
        total(v.modules * v.calls * metric(layer(v)) for v in visits)
        for layer in (operator.attrgetter("layer"), operator.attrgetter("last"))
    )
    return first if steps == 1 else arithmetic_series(first, last, steps)


def _times(visit: Visit, works: Works) -> Iterator[Quantity]:
    times = visit.modules * visit.calls
    for low, high in zip(visit.layer.kernels(), visit.last.kernels(), strict=True):
        first, last = _ceilings(low, works), _ceilings(high, works)
        if visit.steps == 1:
            yield times * metrics.largest(t for t in first if not is_zero(t))
        else:
            arguments: tuple[Any, ...] = (*first, *last, visit.steps)
            yield times * Apply("series_of_maximum", tuple(_expr(a) for a in arguments))


def _ceilings(kernel: Kernel, works: Works) -> tuple[Quantity, Quantity, Quantity]:
    """Return the time under each ceiling, in ms."""
    tensor = 0 if kernel.rate is None else works.symbol(kernel.tensor_core_flops)
    cuda, moved = works.symbol(kernel.cuda_core_flops), works.symbol(_rounded(kernel.io_bytes))
    return (
        0 if kernel.rate is None else tensor * Symbol(f"{kernel.rate}_ms"),
        0 if is_zero(cuda) else cuda * Symbol("cuda_ms"),
        moved * Symbol("memory_ms"),
    )


def _least_tensor_ms(visit: Visit, works: Works) -> Quantity:
    """Return the time of a layer's own products at the dense peaks, masked pairs left out."""

    def once(layer: BaseLayer) -> Quantity:
        return total(
            works.symbol(o.least_tensor_core_flops) * Symbol(f"{o.rate}_least_ms")
            for o in layer.operations()
            if o.on_tensor_cores
        )

    times, first = visit.modules * visit.calls, once(visit.layer)
    if is_zero(first):
        return 0
    series = first if visit.steps == 1 else visit.steps * ratio(first + once(visit.last), 2)
    return times * series


def _rounded(quantity: Quantity) -> Quantity:
    """Return a quantity that is rounded where it is an expectation."""
    return Apply("whole", (quantity,)) if isinstance(quantity, Expr) else quantity


def _expr(quantity: Quantity) -> Expr:
    return quantity if isinstance(quantity, Expr) else Number(quantity)
