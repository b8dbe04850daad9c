"""Counts what the host launches: dispatched operators, and values it waits for."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors(*trees: Any) -> list[Tensor]:
    """Return the tensors in arguments or results, in order."""
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)]


def launches(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    """Tell an operator that runs a kernel from a view.

    One that returns the storage it was given is a view, unless it writes in
    place; ``reshape``, ``to`` and ``contiguous`` are what they turn out to be.
    """
    name = func.overloadpacket.__name__
    if name.endswith("_"):
        return True
    if "empty" in name:
        return False
    given = {t.untyped_storage()._cdata for t in inputs}
    return any(t.untyped_storage()._cdata not in given for t in outputs)


class DispatchCounter(TorchDispatchMode):
    """Counts kernels that are dispatched, and copies from the device that the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dispatches = self.synchronisations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs, outputs = tensors(args, kwargs), tensors(out)
        from_device = any(not t.is_cpu for t in inputs)
        if from_device and (not outputs or all(t.is_cpu for t in outputs)):
            self.synchronisations += 1
        elif launches(func, inputs, outputs):
            self.dispatches += 1
        return out
