"""Kernels: operations that run as one launch, and the bytes that cross their border."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mkdocs_dsocr.layers.operations import Operation, Tensor, bytes_of, whole
from mkdocs_dsocr.quantities import Quantity, total


@dataclass(frozen=True)
class Kernel:
    """Operations that run as one launch and share what stays inside it."""

    operations: tuple[Operation, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        return self.operations[0].kernel or self.operations[0].name

    @property
    def category(self) -> str:
        """Family of its first operation that is more than a copy."""
        families = [o.category for o in self.operations]
        return next((f for f in families if f != "copy"), families[0])

    @property
    def compute_dtype(self) -> str | None:
        """Format at whose peak its products run on tensor cores; None where none do."""
        return next((o.compute_dtype for o in self.operations if o.on_tensor_cores), None)

    @property
    def tensor_core_flops(self) -> Quantity:
        return total(o.tensor_core_flops for o in self.operations)

    @property
    def cuda_core_flops(self) -> Quantity:
        return total(o.cuda_core_flops for o in self.operations)

    @property
    def io_bytes(self) -> Quantity:
        """Bytes that cross its border; an expectation is rounded half-even, here only."""
        return whole(bytes_of((*self.inputs, *self.outputs)))


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
