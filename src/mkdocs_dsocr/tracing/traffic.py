"""Bytes that an operator touches: its inputs once and its outputs once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from torch import Tensor

GATHERS: Final = frozenset(("embedding", "index"))
"""Read the entries that they pick, not the table, which is their first input."""
SCATTERS: Final = frozenset(("index_put_", "scatter_", "masked_scatter_"))
"""Write the entries that they pick, not the whole of their target, which is their first input."""
CREATIONS: Final = frozenset(("new_zeros", "new_ones"))
"""Take only a type and a place from their input."""
OVERWRITES: Final = frozenset(("copy_", "fill_", "zero_"))
"""Write their target without reading it."""


def tensors(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors in arguments or results, in order, those in lists included."""
    result: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            result.append(value)
        elif isinstance(value, list | tuple):
            result += tensors(value)
    return result


def storage(tensor: Tensor) -> int:
    """Return the identity of the memory behind a tensor."""
    return int(tensor.untyped_storage()._cdata)


def launches(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Tell an operator that runs a kernel from a view.

    One that returns the memory it was given is a view, unless it writes in
    place; ``reshape``, ``to`` and ``contiguous`` are what they turn out to be.
    """
    if name.endswith("_"):
        return name != "detach_"  # it changes no memory
    given = {storage(t) for t in inputs}
    return "empty" not in name and any(storage(t) not in given for t in outputs)


def bytes_touched(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Return the bytes that an operator reads and writes."""
    written = sum(touched(t) for t in outputs)
    if name in CREATIONS:
        return written
    if name in GATHERS:
        return 2 * written + _distinct(inputs[1:])
    if name in SCATTERS:
        return _distinct(inputs[1:]) + _scattered(name, inputs)
    if name in OVERWRITES:
        return written + _distinct(inputs[1:])
    return written + _distinct(inputs)


def touched(tensor: Tensor) -> int:
    """Return the bytes of a tensor; what is expanded is its storage once."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else 1
    return elements * tensor.itemsize


def _distinct(inputs: list[Tensor]) -> int:
    """Return the bytes of all inputs, one that is given twice counting once."""
    seen = {(storage(t), t.storage_offset(), t.shape, t.stride()): t for t in inputs}
    return sum(touched(t) for t in seen.values())


def _scattered(name: str, inputs: list[Tensor]) -> int:
    """Return the bytes written: as many entries as there are values, or places for a scalar."""
    target, values = inputs[0], inputs[-1]
    entries = inputs[1].numel() if name == "scatter_" else values.numel()
    return entries * target.itemsize
