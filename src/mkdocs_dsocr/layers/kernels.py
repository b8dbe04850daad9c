"""Kernels: operations that run as one launch, and the bytes that cross their border."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mkdocs_dsocr.layers.operations import Operation, Pattern, Tensor, bytes_of, whole
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity, largest, total

_BY_TIME: Final[tuple[Pattern, ...]] = (
    "contiguous",
    "per element",
    "strided",
    "reduction",
    "direct",
    "product",
    "attention",
)


@dataclass(frozen=True)
class Kernel:
    """Operations that run as one launch and share what stays inside it."""

    operations: tuple[Operation, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @cached_property
    def name(self) -> str:
        return self.operations[0].kernel or self.operations[0].name

    @cached_property
    def category(self) -> str:
        """Family of its first operation that is more than a copy."""
        families = [o.category for o in self.operations]
        return next((f for f in families if f != "copy"), families[0])

    @cached_property
    def compute_dtype(self) -> str | None:
        """Format at whose peak its products run on tensor cores; None where none do."""
        return next((o.compute_dtype for o in self.operations if o.on_tensor_cores), None)

    @cached_property
    def pattern(self) -> Pattern:
        """How it works: as that of its operations which takes longest for an element."""
        return max((o.runs_as for o in self.operations), key=_BY_TIME.index)

    @cached_property
    def products(self) -> tuple[Product, ...]:
        return tuple(p for o in self.operations for p in o.products)

    @cached_property
    def is_causal(self) -> bool:
        """Whether its attention leaves out pairs that a causal mask forbids."""
        return any(o.causal_matmul_flops is not None and o.skips_masked for o in self.operations)

    @cached_property
    def launches(self) -> Quantity:
        """How often it starts in one call of its layer."""
        return largest(o.launches for o in self.operations)

    @cached_property
    def further_launches(self) -> Quantity:
        """Kernels that its operators launch besides it, copies of inputs left out."""
        return total(o.launches * (o.num_kernels - 1) for o in self.operations)

    @cached_property
    def rearranged(self) -> list[Tensor]:
        """Inputs that are copied into another order first."""
        return [o.reads[0] for o in self.operations if o.rearranges]

    @cached_property
    def kernel_launches(self) -> Quantity:
        """How many kernels start, all that belong to it together."""
        copies = total(o.launches for o in self.operations if o.rearranges)
        return total((self.launches, self.further_launches, copies))

    @cached_property
    def matmul_flops(self) -> Quantity:
        return total(o.matmul_flops for o in self.operations)

    @cached_property
    def written_elements(self) -> Quantity:
        return total(t.elements for t in self.outputs)

    @cached_property
    def tensor_core_flops(self) -> Quantity:
        return total(o.tensor_core_flops for o in self.operations)

    @cached_property
    def cuda_core_flops(self) -> Quantity:
        return total(o.cuda_core_flops for o in self.operations)

    @cached_property
    def io_bytes(self) -> Quantity:
        """Bytes that cross its border; an expectation is rounded half-even, here only."""
        return whole(bytes_of((*self.inputs, *self.outputs)))

    @cached_property
    def activation_bytes(self) -> Quantity:
        """Those of :attr:`io_bytes` that are activations."""
        tensors = (*self.inputs, *self.outputs)
        return whole(bytes_of(t for t in tensors if t.role == "activation"))


def fuse(operations: Iterable[Operation]) -> list[Kernel]:
    """Group operations into their declared kernels, in order of first appearance.

    A tensor that is written and then read inside a kernel stays inside, unless
    an operation of another kernel reads it too.
    """
    groups: dict[str, list[Operation]] = {}
    for index, operation in enumerate(operations):
        groups.setdefault(operation.kernel or f"#{index}", []).append(operation)
    readers: dict[str, set[str]] = {}
    for key, group in groups.items():
        for operation in group:
            for tensor in operation.reads:
                readers.setdefault(tensor.name, set()).add(key)
    return [_kernel(key, group, readers) for key, group in groups.items()]


def _kernel(key: str, group: list[Operation], readers: dict[str, set[str]]) -> Kernel:
    inputs: dict[str, Tensor] = {}
    written: dict[str, Tensor] = {}
    inside: set[str] = set()
    for operation in group:
        reads, writes = operation.in_place or (operation.reads, operation.writes)
        for tensor in reads:
            if tensor.name in written:
                inside.add(tensor.name)
            else:
                inputs.setdefault(tensor.name, tensor)
        for tensor in writes:
            written[tensor.name] = tensor
    outputs = [t for n, t in written.items() if n not in inside or readers[n] != {key}]
    return Kernel(tuple(group), tuple(inputs.values()), tuple(outputs))
