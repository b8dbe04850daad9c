"""What a layer is made of beside its operations: parameters, and the layers it calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mkdocs_dsocr.layers.operations import DType, Keep, Operation, Tensor
from mkdocs_dsocr.quantities import Quantity, product

if TYPE_CHECKING:
    from mkdocs_dsocr.layers.base import BaseLayer

Repetition = Literal["none", "for", "parfor"]


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
        How often each runs; 0 for a module whose parameters are read without calling it.
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
