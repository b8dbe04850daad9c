"""One run of a pass: its formulas in the symbols of sizes, formats and rates."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, Final

from mkdocs_dsocr.cost.formats import symbolic_precision
from mkdocs_dsocr.cost.program import Program
from mkdocs_dsocr.cost.rates import RATES, MsPer
from mkdocs_dsocr.cost.time import causal_products, longest_ms, mean
from mkdocs_dsocr.cost.work import Work, exposed_ms, parts_ms, start_ms, works
from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import figures, memory, metrics, tree
from mkdocs_dsocr.layers.builtin import Group
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import (
    Batch,
    BatchPass,
    Choices,
    Load,
    built_pass,
    model_of,
)
from mkdocs_dsocr.quantities import (
    Expr,
    Quantity,
    Symbol,
    apply,
    arithmetic_series,
    is_zero,
    total,
)
from mkdocs_dsocr.trace import Part, PassShape

COUNTS: Final = tuple(
    key
    for key in figures.keys("calls")
    # Needs no division by a tile's side, or is no part of a sweep.
    if key not in ("causal_tensor_core_flops", "padded_tensor_core_flops")
)
"""Figures that add up over the runs of a workload, and that a sweep has."""
OPERANDS: Final = ("weight", "activation", "kv", "bf16")
"""Products by the operand whose format decides: a linear's, activations, the cache's, none."""
LOAD: Final = ("distinct_experts", "busiest_tokens")
"""Symbols of the load of the experts."""
SYMBOLIC_MS: Final = MsPer(
    tensor_peak={name: Symbol(f"{name}_peak_ms") for name in OPERANDS},
    **{name: Symbol(name) for name in RATES},
)
"""The rates of any GPU."""


@dataclasses.dataclass(frozen=True)
class Form:
    """What decides which formulas a pass has, where its numbers are columns.

    Attributes
    ----------
    pass_id, part
        The pass.
    fixed
        Sizes that are the same integers in all rows, by name.
    columns
        Sizes that are columns.
    grown
        Of a loop, the sizes that differ in its last step.
    chosen
        The model's choices, by name.
    autocast, eager
        Whether it runs under autocast, and whether every operation is a kernel of its own.
    """

    pass_id: str
    part: Part
    fixed: tuple[tuple[str, int], ...]
    columns: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    chosen: tuple[tuple[str, bool], ...] = ()
    autocast: bool = False
    eager: bool = False

    @property
    def first(self) -> PassShape:
        """What the pass is fed; of a loop, in its first step."""
        sizes: dict[str, Any] = {**dict(self.fixed), **{n: Symbol(n) for n in self.columns}}
        return PassShape(self.pass_id, self.part, autocast=self.autocast, **sizes)

    @property
    def last(self) -> PassShape:
        """The same of its last step."""
        symbols: dict[str, Any] = {name: Symbol(f"last_{name}") for name in self.grown}
        return dataclasses.replace(self.first, **symbols)

    def group(self, config: ModelConfig, shape: PassShape) -> Group:
        """Return the layers of a run."""
        precision = symbolic_precision(config, self.autocast, self.eager)
        load = Load(*map(Symbol, LOAD))
        return built_pass(config, shape, load, dict(self.chosen), precision)


def form_of(found: BatchPass, chosen: Choices, **modes: bool) -> Form:
    """Return the form of a pass of a batch: sizes that are integers are fixed."""
    fixed = {k: v for k, v in found.sizes.items() if isinstance(v, int)}
    return Form(
        found.pass_id,
        found.part,
        fixed=tuple(fixed.items()),
        columns=tuple(k for k in found.sizes if k not in fixed),
        grown=tuple(found.last),
        chosen=tuple((name, bool(value)) for name, value in chosen.items()),
        **modes,
    )


@dataclasses.dataclass(frozen=True)
class Formulas:
    """What one call of a pass amounts to; of decode, all its steps.

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


@lru_cache(maxsize=64)  # tables and the browser's script ask for the same ones
def formulas(config: ModelConfig, form: Form) -> Formulas:
    """Return the formulas of a pass, in the form that its choices decide."""
    is_loop = bool(form.grown)
    first = form.group(config, form.first)
    last = form.group(config, form.last) if is_loop else first
    steps: Any = Symbol("steps") if is_loop else 1
    child = Child("pass", first, last=last if is_loop else None, steps=steps)
    visits = list(tree.walk(Group(items=(child,))))
    work = {key: _summed(key, visits) for key in COUNTS}
    work["activation_bytes"] = memory.peak(last).bytes
    work["kvcache_bytes"] = tree.resident(last, metrics.kvcache_bytes)
    own: dict[str, list[Quantity]] = {}
    for visit in visits:
        own.setdefault(visit.layer.class_name(), []).append(_device_ms(visit))
    by_class = {name: time for name, parts in own.items() if not is_zero(time := total(parts))}
    times = {
        "device_time_ms": total(by_class.values()),
        "causal_ms": total(_causal_ms(v) for v in visits),
    }
    return Formulas(work, times, by_class)


@lru_cache(maxsize=256)
def pass_program(config: ModelConfig, form: Form) -> Program:
    """Return counts, bytes in memory and times of one pass; of decode, of all its steps."""
    found = formulas(config, form)
    rates = (*RATES, *(f"{name}_peak_ms" for name in OPERANDS))
    return Program({**found.times, **found.work}, floats=(*LOAD[:1], *rates))


def weights(config: ModelConfig) -> Quantity:
    """Return the bytes of all parameters, in the symbols of their format."""
    side = config.trained_image_size
    # A page that every module is called for; its sizes do not matter to weights.
    page = Batch(1, 0, 0, side, side, 1, 1, text_tokens=1, max_new_tokens=1, last_logits=0)
    model = model_of(config)
    items = []
    for found in model.passes(config, page):
        if found.calls:
            form = form_of(found, model.choices(config, found.pass_id, found.sizes))
            items.append(Child(found.pass_id, form.group(config, form.first)))
    precision = items[0].layer.precision
    whole = dataclasses.replace(model.whole(tuple(items)), precision=precision)
    return tree.resident(whole, metrics.weight_bytes)


@lru_cache(maxsize=64)
def weights_program(config: ModelConfig) -> Program:
    """Return :func:`weights` as a program."""
    return Program({"weight_bytes": weights(config)})


def _summed(key: str, visits: list[NodeVisit]) -> Quantity:
    """Return one of :data:`COUNTS` over all layers in one call of the pass, launches in all."""
    if key in figures.LAUNCHED:
        # An expectation is rounded once, over all calls of the pass.
        of = figures.FIGURES[key].metric
        return total(_rounded(Symbol("calls") * visit.launched(of)) for visit in visits)
    rounded = {
        "io_bytes": lambda layer: total(_rounded(k.io_bytes) for k in layer.kernels()),
        "eager_io_bytes": lambda layer: total(_rounded(o.eager_bytes) for o in layer.operations()),
    }
    metric = rounded.get(key, figures.FIGURES[key].metric)
    series: dict[Quantity, list[NodeVisit]] = {}
    for visit in visits:
        series.setdefault(visit.steps, []).append(visit)
    # Every layer's counts are affine in the step, and so is the sum of those of equal steps.
    return total(_series(metric, found, steps) for steps, found in series.items())


def _series(metric: metrics.MetricOf, visits: list[NodeVisit], steps: Quantity) -> Quantity:
    """Return a metric over all layers that run in the same steps."""
    first = total(v.modules * v.calls * metric(v.layer) for v in visits)
    if steps == 1:
        return first
    last = total(v.modules * v.calls * metric(v.last) for v in visits)
    series: Quantity = arithmetic_series(first, last, steps)
    return series


def _device_ms(visit: NodeVisit) -> Quantity:
    """Return the time of a layer's own kernels over all calls, in ms."""
    times = visit.modules * visit.calls
    return total(times * _kernel_ms(*found[1:], visit) for found in works(visit))


def _kernel_ms(first: Work, last: Work, visit: NodeVisit) -> Quantity:
    """Return the time of a kernel over all steps, in ms."""
    rounded = ("moved", "activations")
    is_loop = visit.last is not visit.layer

    def whole(work: Work) -> Work:
        return work.with_each(
            lambda name: _rounded(getattr(work, name)) if name in rounded else getattr(work, name)
        )

    first = whole(first)
    last = whole(last) if is_loop else first
    parts, ends = (parts_ms(work, SYMBOLIC_MS, last.activations) for work in (first, last))
    starts = start_ms(first, SYMBOLIC_MS)
    if is_loop:
        starts = visit.steps * mean(starts, start_ms(last, SYMBOLIC_MS))
    # Products in tiles are the same in every step.
    exposed = exposed_ms(first, parts)
    exposed = exposed if is_zero(exposed) or not is_loop else visit.steps * exposed
    return total((longest_ms(parts, ends, visit.steps), exposed, starts))


def _causal_ms(visit: NodeVisit) -> Quantity:
    """Return the time of a layer's own products at the dense peaks, masked pairs left out."""
    first, last = causal_products(visit.layer), causal_products(visit.last)

    def series(dtype: str) -> Any:
        is_loop = visit.last is not visit.layer
        return visit.steps * mean(first[dtype], last[dtype]) if is_loop else first[dtype]

    times = visit.modules * visit.calls
    return total(times * series(dtype) * SYMBOLIC_MS.tensor_peak[dtype] for dtype in first)


def _rounded(quantity: Quantity) -> Quantity:
    """Return a quantity that is rounded where it is an expectation."""
    return apply("whole", quantity) if isinstance(quantity, Expr) else quantity
