"""The analytic layer: dimensions in, operations and children out.

A layer is a frozen dataclass whose fields are its dimensions. Its
:meth:`BaseLayer.forward` yields, in the order of execution, the operations it
runs itself and the layers it calls. Every number, table and formula of the
project is derived from that one method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

from mkdocs_dsocr.layers import backward, memory, metrics
from mkdocs_dsocr.layers.operations import Kernel, Operation, Tensor, fuse
from mkdocs_dsocr.layers.parts import Child, Parameter, Part
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.layers.tree import resident, summed
from mkdocs_dsocr.quantities import BITS_PER_BYTE, GIGABYTE, TERABIT, TFLOP, Symbol, ratio

T = TypeVar("T")


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
    return dataclass(frozen=True, eq=False, kw_only=True, repr=False)(cls)


class Rationale(NamedTuple):
    """Why a layer's formulas are as they are, for a reader who wants to refute them."""

    counted: str
    not_counted: str
    assumed: str
    would_change: str


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
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

    precision: Precision | None = None

    module_class: ClassVar[str] = ""
    """Name of the PyTorch class that it stands for; its own name if empty."""
    definition: ClassVar[str] = ""
    """What the PyTorch class is, where several layers stand for it; else the docstring says it."""
    source: ClassVar[str] = ""
    """Where the module is defined."""
    rationale: ClassVar[Rationale]
    first_names: ClassVar[Mapping[str, str]] = {}
    """Changed names of fused kernels, options and the class itself → the first name.

    The first name is the id in reviews and never changes. Add a line here when you rename one,
    and reviews stay current. An operation has an `id` of its own.
    """
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
    def moments(self) -> tuple[memory.Moment, ...]:
        """Every operation and child, with the activations that are in memory then."""
        return tuple(memory.moments(self))

    @cached_property
    def peak(self) -> memory.Peak:
        """The most activations that are in memory at once in a call."""
        return memory.peak(self)

    @cached_property
    def _kernels(self) -> list[Kernel]:
        if self.precision is not None and self.precision.eager:
            return [Kernel((o,), o.reads, o.writes) for o in self.operations()]
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

    def backward_tensor_core_flops(self) -> Any:
        """TFLOPs (1e12) on tensor cores; attention keeps its scores."""
        return ratio(summed(self, backward.tensor_core_flops), TFLOP)

    def backward_cuda_core_flops(self) -> Any:
        """TFLOPs (1e12) on CUDA cores."""
        return ratio(summed(self, backward.cuda_core_flops), TFLOP)

    def recompute_flops(self) -> Any:
        """TFLOPs (1e12) of an attention that computes its scores again instead."""
        return ratio(summed(self, backward.recompute_flops), TFLOP)

    def backward_cal_io(self) -> Any:
        """Terabits (1e12 bit) that cross the borders of the backwards of its kernels."""
        return ratio(BITS_PER_BYTE * summed(self, backward.io_bytes), TERABIT)

    def backward_arithmetic_intensity(self) -> Any:
        """FLOPs per bit; 0 where nothing moves."""
        flops = summed(self, backward.tensor_core_flops) + summed(self, backward.cuda_core_flops)
        bits = BITS_PER_BYTE * summed(self, backward.io_bytes)
        return 0 if isinstance(bits, int) and bits == 0 else ratio(flops, bits)

    def backward_memory_weight(self) -> Any:
        """GB (1e9 byte) of gradients: one for each parameter, in its format."""
        return self.forward_memory_weight()

    def backward_memory_activation(self) -> Any:
        """GB (1e9 byte) that the forward keeps for the backward, inputs included."""
        return ratio(backward.kept(self).bytes, GIGABYTE)

    def backward_memory_kvcache(self) -> Any:
        """GB (1e9 byte) of gradients of keys and values: training has no cache."""
        return 0


@layer
class Group(BaseLayer):
    """A stage or a pass: modules that run together, and nothing else."""

    is_module = False

    items: tuple[Child, ...]

    def forward(self) -> Iterator[Part]:
        yield from self.items
