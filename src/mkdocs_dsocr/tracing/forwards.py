"""Replaces the ``forward`` of modules while a pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

Forward = Callable[..., Any]


@contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Let modules run these functions meanwhile."""
    before = {module: vars(module).get("forward") for module in forwards}
    for module, forward in forwards.items():
        vars(module)["forward"] = forward  # ``setattr`` of a module is slow
    try:
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own


@contextmanager
def calls_for_forwards(model: nn.Module) -> Iterator[None]:
    """Make a call of ``module.forward(...)`` one of ``module(...)``, which hooks see."""
    called: set[nn.Module] = set()

    def wrapped(module: nn.Module, forward: Forward) -> Forward:
        def call(*args: Any, **kwargs: Any) -> Any:
            if module not in called:
                return module(*args, **kwargs)
            called.discard(module)
            return forward(*args, **kwargs)

        return call

    forwards = {module: wrapped(module, module.forward) for module in model.modules()}
    with (
        register_module_forward_pre_hook(lambda module, args: called.add(module)),
        replaced_forwards(forwards),
    ):
        yield


@contextmanager
def stand_ins(outputs: Mapping[nn.Module, Callable[..., Tensor]]) -> Iterator[None]:
    """Let modules return what functions of their inputs return, without running them.

    What the functions allocate is no work: no mode sees it.
    """

    def replaced(function: Callable[..., Tensor]) -> Forward:
        def forward(*args: Any) -> Tensor:
            with torch._C._DisableTorchDispatch():
                return function(*args)

        return forward

    with replaced_forwards({module: replaced(function) for module, function in outputs.items()}):
        yield
