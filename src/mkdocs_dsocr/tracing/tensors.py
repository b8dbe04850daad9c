"""Tensors among the arguments of an operator, and the bytes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def find_tensors(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors in arguments or results, in order, those in lists included."""
    result: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            result.append(value)
        elif isinstance(value, list | tuple):
            result += find_tensors(value)
    return result


def storage(tensor: Tensor) -> int:
    """Return the identity of the memory behind a tensor."""
    return int(tensor.untyped_storage()._cdata)


def touched_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor; an expanded dimension counts once."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else 1
    return elements * tensor.itemsize


def distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of all tensors; one that is given twice counts once."""
    seen = {(storage(t), t.storage_offset(), t.shape, t.stride()): t for t in tensors}
    return sum(touched_bytes(t) for t in seen.values())
