"""The analytic layer: dimensions in, operations and children out.

A layer is a frozen dataclass whose fields are its dimensions. Its
:meth:`BaseLayer.forward` yields, in the order of execution, the operations it
runs itself and the layers it calls. Every number, table and formula of the
project is derived from that one method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar, dataclass_transform

from mkdocs_dsocr.layers import memory, metrics
from mkdocs_dsocr.layers.operations import DType, Keep, Kernel, Operation, Tensor, fuse, whole
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.quantities import (
    BITS_PER_BYTE,
    GIGABYTE,
    TERABIT,
    TFLOP,
    Quantity,
    Symbol,
    arithmetic_series,
    product,
    ratio,
    total,
)

T = TypeVar("T")
Repetition = Literal["none", "for", "parfor"]


class Dimension(NamedTuple):
    """What a field of a layer means: its symbol, sentence and unit."""

    symbol: str
    meaning: str
    unit: str


def dim(symbol: str, meaning: str, unit: str = "", default: Any = dataclasses.MISSING) -> Any:
    """Declare a dimension of a layer: a field that documents itself."""
    return field(default=default, metadata={"dimension": Dimension(symbol, meaning, unit)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dim, field))
def layer(cls: type[T]) -> type[T]:
    """Make a class an analytic layer: a frozen dataclass with keyword fields."""
    return dataclass(frozen=True, eq=False, kw_only=True)(cls)


@dataclass(frozen=True)
class Parameter:
    """A parameter tensor of the module, with the shape that PyTorch gives it."""

    name: str
    shape: tuple[Quantity, ...]
    copies: Quantity | None = None
    """How many modules hold one, where the layer stands for several."""
    is_linear: bool = False
    """Whether it is the weight of a linear, which may be quantised row by row."""

    @property
    def tensor(self) -> Tensor:
        columns = self.shape[-1] if self.is_linear else None
        return Tensor(self.name, self.elements, role="weight", columns=columns)

    @property
    def elements(self) -> Quantity:
        """Elements of all copies together."""
        return product(self.shape if self.copies is None else (self.copies, *self.shape))


@dataclass(frozen=True)
class Child:
    """A layer that another one calls.

    Attributes
    ----------
    name
        Its segment of the module path; a pattern (``[1-11]``) for several modules.
    layer
        What one of them is; all of them together where `active` is given.
    count, repetition
        How many modules the name stands for, and whether they run one after
        another (``for``) or independently of each other (``parfor``).
    active
        Given where `layer` holds the work of all `count` modules together
        (experts share the rows between them, so no one of them has a size of
        its own): how many of them run, which may be an expectation.
    calls
        How often each runs.
    reads, writes
        The tensors of the caller that go in and come out.
    largest
        Given beside `active`: the layer of the one module that gets most.
    inputs
        Under autocast, the dtypes of what it is fed.
    last, steps
        For a loop whose layer grows by equal steps (decode): the layer of the
        last step. Every count is affine in the step, so `steps` of them are an
        arithmetic series.
    """

    name: str
    layer: BaseLayer
    count: int = 1
    repetition: Repetition = "none"
    active: Quantity | None = None
    calls: int = 1
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    largest: BaseLayer | None = None
    last: BaseLayer | None = None
    steps: int = 1
    inputs: tuple[DType, ...] = ()

    @property
    def biggest(self) -> BaseLayer:
        """The layer of its largest call."""
        return self.largest or self.last or self.layer


Part: TypeAlias = Operation | Child | Keep
"""What a forward consists of."""


class Rationale(NamedTuple):
    """Why a layer's formulas are as they are, for a reader who wants to refute them."""

    counted: str
    not_counted: str
    assumed: str
    would_change: str


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseLayer:
    """Base of all analytic layers.

    A subclass states dimensions, :meth:`forward`, and where it has them
    :meth:`parameters` and :meth:`kv_cache`. The methods named after
    ModelMeter's contract answer for one call, children included, and need
    integer (or NumPy) dimensions; with symbolic ones they return expressions.

    Attributes
    ----------
    precision
        Formats and autocast of the run; where not given, as :meth:`forward` says.
    """

    precision: Precision | None = field(default=None, repr=False)

    module_class: ClassVar[str] = ""
    """Name of the PyTorch class that it stands for; its own name if empty."""
    definition: ClassVar[str] = ""
    """What the PyTorch class is, where several layers stand for it; else the docstring says it."""
    source: ClassVar[str] = ""
    """Where the module is defined."""
    rationale: ClassVar[Rationale]
    is_module: ClassVar[bool] = True
    """Whether it stands for a module, and is no stage or pass."""
    is_chain: ClassVar[bool] = False
    """Whether its children run one after another, each on what the one before returned."""

    @classmethod
    def class_name(cls) -> str:
        return cls.module_class or cls.__name__

    def forward(self) -> Iterator[Part]:
        """Yield operations and children in the order in which they run."""
        raise NotImplementedError

    def parameters(self) -> Iterator[Parameter]:
        """Yield the module's own parameters."""
        yield from ()

    def kv_cache(self) -> Iterator[Tensor]:
        """Yield the tensors that the module's own KV cache holds after the call."""
        yield from ()

    def boundary(self) -> Iterator[Tensor]:
        """Yield the tensors that enter or leave the model here, once in each pass."""
        yield from ()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What :meth:`forward` yields, in the precision of the run."""
        parts = tuple(self.forward())
        return parts if self.precision is None else self.precision.applied(parts)

    def stored(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Return tensors in the formats in which they are stored."""
        return [self.precision.stored(t) if self.precision else t for t in tensors]

    def operations(self) -> list[Operation]:
        return [part for part in self.parts if isinstance(part, Operation)]

    def children(self) -> list[Child]:
        return [part for part in self.parts if isinstance(part, Child)]

    @cached_property
    def peak(self) -> memory.Peak:
        """The most activations that are in memory at once in a call."""
        return memory.peak(self)

    @cached_property
    def _kernels(self) -> list[Kernel]:
        return fuse(self.operations())

    def kernels(self) -> list[Kernel]:
        return self._kernels

    @classmethod
    def dimensions(cls) -> dict[str, Dimension]:
        """Return what each dimension field means."""
        fields = dataclasses.fields(cls)
        return {f.name: f.metadata["dimension"] for f in fields if "dimension" in f.metadata}

    def values(self) -> dict[str, Any]:
        """Return the value of each dimension by its symbol."""
        return {d.symbol: getattr(self, name) for name, d in self.dimensions().items()}

    def symbolic(self: T) -> T:
        """Return the same layer with a symbol for each dimension."""
        symbols = {n: Symbol(d.symbol) for n, d in self.dimensions().items()}  # type: ignore[attr-defined]
        return dataclasses.replace(self, **symbols)  # type: ignore[type-var]

    def forward_tensor_core_flops(self) -> Any:
        """TFLOPs (1e12) on tensor cores."""
        return ratio(summed(self, metrics.tensor_core_flops), TFLOP)

    def forward_cuda_core_flops(self) -> Any:
        """TFLOPs (1e12) on CUDA cores."""
        return ratio(summed(self, metrics.cuda_core_flops), TFLOP)

    def forward_cal_io(self) -> Any:
        """Terabits (1e12 bit) that cross the borders of its kernels."""
        return ratio(BITS_PER_BYTE * summed(self, metrics.io_bytes), TERABIT)

    def forward_arithmetic_intensity(self) -> Any:
        """FLOPs per bit; 0 where nothing moves."""
        flops = summed(self, metrics.tensor_core_flops) + summed(self, metrics.cuda_core_flops)
        bits = BITS_PER_BYTE * summed(self, metrics.io_bytes)
        return 0 if isinstance(bits, int) and bits == 0 else ratio(flops, bits)

    def forward_memory_weight(self) -> Any:
        """GB (1e9 byte) of resident parameters."""
        return ratio(resident(self, metrics.weight_bytes), GIGABYTE)

    def forward_memory_activation(self) -> Any:
        """GB (1e9 byte) of activations at their peak."""
        return ratio(self.peak.bytes, GIGABYTE)

    def forward_memory_kvcache(self) -> Any:
        """GB (1e9 byte) of KV cache after the call."""
        return ratio(resident(self, metrics.kvcache_bytes), GIGABYTE)


@layer
class Group(BaseLayer):
    """A stage or a pass: modules that run together, and nothing else."""

    is_module = False

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Part]:
        yield from self.items


@dataclass(frozen=True)
class Visit:
    """A layer met on a walk, and how often it stands there.

    Attributes
    ----------
    pass_id, torch_path
        The pass in which it runs, and the pattern of module paths it stands for.
    parent_id
        ``module_id`` of the caller.
    layer, last, steps
        As in :class:`Child`: first and last of an arithmetic series of calls.
    largest
        The layer of the largest call of any one module.
    modules
        How often `layer` stands in the model.
    instances
        How many modules of the model it is (more where it holds several).
    active, last_active
        Modules that run each time, of those that one `layer` holds: in the
        first and in the last of the series.
    calls
        How often `layer` runs each step.
    child
        The edge by which it was reached.
    """

    pass_id: str
    torch_path: str
    parent_id: str | None
    layer: BaseLayer
    last: BaseLayer
    largest: BaseLayer
    steps: int
    modules: int
    instances: int
    active: Quantity
    last_active: Quantity
    calls: int
    child: Child

    @property
    def module_id(self) -> str:
        return f"{self.pass_id}/{self.torch_path}" if self.torch_path else self.pass_id

    def summed(self, metric: metrics.MetricOf) -> Quantity:
        """Return what its own operations come to over all calls."""
        return self.modules * self.calls * self.series(metric(self.layer), metric(self.last))

    @property
    def runs(self) -> Quantity:
        """How many calls of modules it comes to (expected, where `active` is)."""
        return whole(self.modules * self.calls * self.series(self.active, self.last_active))

    def dispatches(self) -> Quantity:
        """Return how many operators its own code dispatches over all calls."""
        first = self.active * metrics.dispatches(self.layer)
        last = self.last_active * metrics.dispatches(self.last)
        return whole(self.modules * self.calls * self.series(first, last))

    def series(self, first: Quantity, last: Quantity) -> Quantity:
        return first if self.steps == 1 else arithmetic_series(first, last, self.steps)


def walk(root: BaseLayer, name: str = "model") -> Iterator[Visit]:
    """Yield `root` and every layer under it, parents first."""
    top = Child(name, root)
    yield from _walk(Visit(name, "", None, root, root, root, 1, 1, 1, 1, 1, 1, top))


def _walk(visit: Visit) -> Iterator[Visit]:
    yield visit
    stages = (visit.layer, visit.last, visit.largest)
    for child, end, largest in zip(*(layer.children() for layer in stages), strict=True):
        group = not child.layer.is_module
        segments = () if group else (visit.torch_path, child.name)
        yield from _walk(
            Visit(
                pass_id=child.name if group else visit.pass_id,
                torch_path=".".join(s for s in segments if s),
                parent_id=visit.module_id,
                layer=child.layer,
                last=child.last or end.layer,
                largest=largest.biggest,
                steps=child.steps * visit.steps,
                modules=visit.modules * (child.count if child.active is None else 1),
                instances=visit.instances * child.count,
                active=visit.active * _active(child),
                last_active=visit.last_active * _active(end),
                calls=visit.calls * child.calls,
                child=child,
            )
        )


def _active(child: Child) -> Quantity:
    return 1 if child.active is None else child.active


def summed(root: BaseLayer, metric: metrics.MetricOf) -> Quantity:
    """Return `metric` summed over every call under `root`."""
    return total(v.summed(metric) for v in walk(root))


def dispatched(root: BaseLayer) -> Quantity:
    """Return the operators dispatched in every call under `root`."""
    return total(v.dispatches() for v in walk(root))


def resident(root: BaseLayer, metric: metrics.MetricOf) -> Quantity:
    """Return `metric` summed over modules: one that runs in several passes is there once."""
    modules: dict[str, list[Quantity]] = {}
    for visit in walk(root):
        modules.setdefault(visit.torch_path, []).append(visit.modules * metric(visit.last))
    return total(metrics.largest(iter(values)) for values in modules.values())
