"""``torch.autocast("cuda", torch.bfloat16)``, also where there is no CUDA device.

Autocast does nothing to tensors on ``meta``, and on a CPU other rules hold. So
elsewhere the rules of CUDA are applied to the calls that the model makes; they
are in the registry of operators.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mkdocs_dsocr.tracing.operators import find_operator


def autocast(device: str, *, enabled: bool) -> AbstractContextManager[Any]:
    """Return a context in which the model runs under CUDA's autocast to bfloat16."""
    if not enabled:
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else _CudaRules()


class _CudaRules(TorchFunctionMode):
    """Casts the inputs of the calls that autocast knows."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        dtype = _dtype(func, (*args, *kwargs.values()))
        if dtype is not None:
            args = tuple(_cast(a, dtype) for a in args)
            kwargs = {name: _cast(value, dtype) for name, value in kwargs.items()}
        return func(*args, **kwargs)


def _dtype(func: Any, values: tuple[Any, ...]) -> torch.dtype | None:
    """Return what autocast casts the inputs of a call to; None where it leaves them alone."""
    rule = find_operator(getattr(func, "__name__", "")).autocast
    if rule == "widest":
        found = {t.dtype for v in values if isinstance(v, list | tuple) for t in v}
        return torch.float32 if torch.float32 in found else None
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}.get(rule)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(_cast(v, dtype) for v in value)
    return value
