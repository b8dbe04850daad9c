"""Lets code run on ``meta`` that asks for values: there are none, so it gets plausible ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

BLANK: Final = "is_blank"
"""Attribute of a tensor that stands for zeros."""
_autocast = torch.autocast


def balanced(rows: int, experts: int) -> list[int]:
    """Return the rows of each expert where they are as even as can be."""
    share, rest = divmod(rows, experts)
    return [share + (e < rest) for e in range(experts)]


class MetaValues(TorchFunctionMode):
    """Answers what PyTorch refuses on ``meta``.

    Parameters
    ----------
    routed
        Rows that all experts of a layer get together: a vector that is copied to the host
        is taken for the rows of each expert, and they are balanced.

    Attributes
    ----------
    asked
        How often a value was asked for: each time a GPU's host would wait.
    """

    def __init__(self, routed: int) -> None:
        super().__init__()
        self.asked = 0
        self._routed = routed

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer meanwhile, and let ``torch.autocast`` know ``meta``."""
        with mock.patch.object(torch, "autocast", _autocast_or_nothing), self:
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if tensor is None or not tensor.is_meta:
            return func(*args, **(kwargs or {}))
        if func is Tensor.cuda:
            return tensor
        if func is Tensor.item:
            self.asked += 1
            if tensor.dtype is torch.bool:
                return True
            return 0.0 if getattr(tensor, BLANK, False) else 1.0
        if func is Tensor.cpu and tensor.dim() == 1:
            self.asked += 1
            with torch._C._DisableTorchDispatch():  # it is no work of the model
                return torch.tensor(balanced(self._routed, tensor.shape[0]), device="cpu")
        out = func(*args, **(kwargs or {}))
        if func is torch.sum and getattr(tensor, BLANK, False):
            setattr(out, BLANK, True)
        return out


def _autocast_or_nothing(
    device_type: str, *args: Any, **kwargs: Any
) -> AbstractContextManager[Any]:
    return nullcontext() if device_type == "meta" else _autocast(device_type, *args, **kwargs)
