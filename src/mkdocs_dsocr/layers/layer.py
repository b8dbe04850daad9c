"""The analytic layer: dimensions in, operations and children out.

A layer is a frozen dataclass whose fields are its dimensions. Its :meth:`Layer.forward` yields its
steps in the order of execution: the operations that it runs itself and the layers that it calls.
Every number, table and formula of the project is derived from that one method, by readers that
this module does not know (:mod:`~mkdocs_dsocr.layers.tree`, :mod:`~mkdocs_dsocr.layers.memory`,
:mod:`~mkdocs_dsocr.layers.backward`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    dataclass_transform,
)

from mkdocs_dsocr.layers.kernels import Kernel, fuse
from mkdocs_dsocr.layers.operations import DType, Keep, Operation, Tensor
from mkdocs_dsocr.quantities import Quantity, Symbol, product

T = TypeVar("T")
Repetition = Literal["none", "for", "parfor"]


class Dimension(NamedTuple):
    """What a field of a layer means: its symbol, sentence and unit."""

    symbol: str
    meaning: str
    unit: str


def dim(symbol: str, meaning: str, unit: str = "", default: Any = dataclasses.MISSING) -> Any:
    """Declare a dimension of a layer: a field with its symbol, meaning and unit."""
    return field(default=default, metadata={"dimension": Dimension(symbol, meaning, unit)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dim, field))
def layer(cls: type[T]) -> type[T]:
    """Make a class an analytic layer: a frozen dataclass with keyword fields."""
    return dataclass(frozen=True, eq=False, kw_only=True, repr=False)(cls)


def renamed(kind: type[T], name: str, module: str, **own: Any) -> type[T]:
    """Return a layer class with the same formulas for a module that has another name.

    Parameters
    ----------
    kind
        The class whose formulas it has.
    name, module
        Its own name, and the Python module that it belongs to.
    own
        Class attributes that differ: its source, the classes that it calls.
    """
    attributes = {"__doc__": kind.__doc__, "__module__": module, "is_renamed": True, **own}
    return layer(type(name, (kind,), attributes))


class Rationale(NamedTuple):
    """Why a layer's formulas are as they are, for a reader who wants to refute them."""

    counted: str
    not_counted: str
    assumed: str
    would_change: str


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
        Given where `layer` has the work of all `count` modules together
        (experts share the rows between them, so no single one has a size of
        its own): how many of them run, which may be an expectation.
    calls
        How often each runs; 0 for a module whose parameters are read without calling it.
    reads, writes
        The tensors of the caller that go in and come out.
    largest
        Given with `active`: the layer of the one module that gets most.
    inputs
        Under autocast, the dtypes of its inputs.
    last, steps
        For a loop whose layer grows by equal steps (decode): the layer of the
        last step. Every count is affine in the step, so `steps` of them are an
        arithmetic series.
    """

    name: str
    layer: Layer
    count: int = 1
    repetition: Repetition = "none"
    active: Quantity | None = None
    calls: int = 1
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    largest: Layer | None = None
    last: Layer | None = None
    steps: int = 1
    inputs: tuple[DType, ...] = ()

    @property
    def biggest(self) -> Layer:
        """The layer of its largest call."""
        return self.largest or self.last or self.layer


Step: TypeAlias = Operation | Child | Keep
"""What a forward yields."""


class Rewrite(Protocol):
    """How a run changes the steps of a forward: formats, casts, fusion."""

    @property
    def eager(self) -> bool:
        """Whether every operation is a kernel of its own."""

    @property
    def fewest_bits(self) -> int:
        """Bits of its narrowest format."""

    def stored(self, tensor: Tensor) -> Tensor:
        """Return a tensor in the format in which it is stored."""

    def applied(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return the steps of a forward as they run, children included."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Layer:
    """What all analytic layers share; a class of layers derives from ``BaseLayer``.

    A subclass states dimensions, :meth:`forward`, and where it has them
    :meth:`parameters` and :meth:`kv_cache`.

    Attributes
    ----------
    precision
        Formats and autocast of the run; None for what :meth:`forward` says.
    """

    precision: Rewrite | None = None

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
    and reviews stay current. An option that was added later and changes no formula has the empty
    first name: it is no part of ids. An operation has an `id` of its own.
    """
    is_renamed: ClassVar[bool] = False
    """Whether the class is another one under a new name: it has no source of its own."""
    is_module: ClassVar[bool] = True
    """Whether it stands for a module, and is no stage or pass."""
    is_chain: ClassVar[bool] = False
    """Whether its children run one after another, each on what the one before returned."""

    @classmethod
    def class_name(cls) -> str:
        return cls.module_class or cls.__name__

    def forward(self) -> Iterator[Step]:
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
    def schedule(self) -> tuple[Step, ...]:
        """What :meth:`forward` yields, in the precision of the run."""
        steps = tuple(self.forward())
        return steps if self.precision is None else self.precision.applied(steps)

    def stored(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Return tensors in the formats in which they are stored."""
        return [self.precision.stored(t) if self.precision else t for t in tensors]

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return tuple(step for step in self.schedule if isinstance(step, Operation))

    def operations(self) -> tuple[Operation, ...]:
        return self._operations

    @cached_property
    def _children(self) -> tuple[Child, ...]:
        return tuple(step for step in self.schedule if isinstance(step, Child))

    def children(self) -> tuple[Child, ...]:
        return self._children

    @cached_property
    def _kernels(self) -> list[Kernel]:
        if self.precision is not None and self.precision.eager:
            return [Kernel((o,), o.reads, o.writes) for o in self.operations()]
        return fuse(self.operations())

    def kernels(self) -> list[Kernel]:
        return self._kernels

    def inner(self, kind: type[AnyLayer], **sizes: Any) -> AnyLayer:
        """Return a layer of another class that this one calls.

        Parameters
        ----------
        kind
            Its class.
        sizes
            Its fields that differ; every other field has the value of the field of the same
            name here.
        """
        names = {f.name for f in dataclasses.fields(kind)} - {"precision"}
        same = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in names}
        return kind(**(same | sizes))

    @classmethod
    def dimensions(cls) -> dict[str, Dimension]:
        """Return what each dimension field means."""
        fields = dataclasses.fields(cls)
        return {f.name: f.metadata["dimension"] for f in fields if "dimension" in f.metadata}

    def values(self) -> dict[str, Any]:
        """Return the value of each dimension by its symbol."""
        return {d.symbol: getattr(self, name) for name, d in self.dimensions().items()}

    def symbolic(self: AnyLayer) -> AnyLayer:
        """Return the same layer with a symbol for each dimension.

        It is the same object for layers that differ in dimensions alone, so that what is read of
        it is kept.
        """
        dimensions, kind = self.dimensions(), cast("Any", type(self))
        others = [f.name for f in dataclasses.fields(self) if f.init and f.name not in dimensions]
        given = tuple((name, type(getattr(self, name)), getattr(self, name)) for name in others)
        try:
            made: AnyLayer = _symbolic(kind, given)
        except TypeError:  # a field that has no hash
            made = _symbolic.__wrapped__(kind, given)
        return made


AnyLayer = TypeVar("AnyLayer", bound=Layer)


@functools.lru_cache(maxsize=1024)
def _symbolic(kind: Any, given: tuple[tuple[str, type, Any], ...]) -> Any:
    """Return a layer with a symbol for each dimension; other fields, with their types, as given."""
    symbols = {name: Symbol(d.symbol) for name, d in kind.dimensions().items()}
    return kind(**symbols, **{name: value for name, _, value in given})


def once(reader: Callable[[Layer], T]) -> Callable[[Layer], T]:
    """Make a reader of layers compute its answer once for each layer; layers do not change."""
    key = f"{reader.__module__}.{reader.__name__}"

    @functools.wraps(reader)
    def kept(layer: Layer) -> T:
        known = vars(layer)
        if key not in known:
            known[key] = reader(layer)
        answer: T = known[key]
        return answer

    return kept
