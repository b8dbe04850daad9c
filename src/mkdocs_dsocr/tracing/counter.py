"""Counts every operator that a pass dispatches: FLOPs, bytes and launches of each module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from mkdocs_dsocr.tracing.memory import ActivationMemory
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.operators import Operator, find_operator
from mkdocs_dsocr.tracing.replay import Replayer
from mkdocs_dsocr.tracing.tensors import find_tensors

EVERYTHING: Final = "*"
"""Stands for all operators, also those of methods that no module call surrounds."""
ATTENTION: Final = "scaled_dot_product_attention"
LM_HEAD: Final = "lm_head"


class OperatorCounter(TorchDispatchMode):
    """Sums what operators do for each module, children included.

    Parameters
    ----------
    modules
        The modules that are told apart.
    replays
        Whether equal calls are run and counted once; on ``meta`` only.

    Attributes
    ----------
    elementwise_flops, eager_bytes, dispatches
        By module path; under :data:`EVERYTHING` for all operators of the pass.
    memory
        The activations meanwhile, and their peak in each module.
    unknown
        Operators that the registry does not know.
    own
        Dispatches and bytes of each operator, by path of the module whose own code it is.
    """

    def __init__(self, modules: Modules, *, replays: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elementwise_flops: Counter[str] = Counter()
        self.eager_bytes: Counter[str] = Counter()
        self.dispatches: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()
        self.unknown: set[str] = set()
        self.own: dict[str, tuple[Counter[str], Counter[str]]] = {}
        self.memory = ActivationMemory(modules, EVERYTHING)
        self._paths = modules.paths
        self._running = [EVERYTHING]
        self.replayer = Replayer(modules, self.memory, self._running) if replays else None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what is dispatched meanwhile."""
        with self.replayer.watching() if self.replayer else nullcontext(), self._counting():
            yield
        self.memory.leave()
        if self.replayer:
            self.replayer.spread_peaks(self.memory.peaks)
            for counts in (self.elementwise_flops, self.eager_bytes, self.dispatches, self._waits):
                self.replayer.spread(counts)

    @property
    def host_syncs(self) -> int:
        """Values that the host asked the device for."""
        return self._waits[EVERYTHING]

    @contextmanager
    def _counting(self) -> Iterator[None]:

        def enter(module: nn.Module, args: Any) -> None:
            self._running.append(self._paths[module])
            self.memory.enter(self._paths[module])

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            path = self._paths[module]
            # The cast of the logits runs after the module: it is left when its caller is.
            while path != LM_HEAD and self._running[-1] in (path, LM_HEAD):
                self._running.pop()
                self.memory.leave()

        with (
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave),
            self,
        ):
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = find_operator(func.overloadpacket.__name__)
        if operator.kind == "composed":
            with self:
                return func.decompose(*args, **kwargs)
        if operator.kind == "identity":
            return args[0]
        out = func(*args, **kwargs)
        if operator.name == ATTENTION:
            out = _as_a_gpu_lays_it_out(out)
        self._count(operator, args, kwargs, out)
        return out

    def _count(
        self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        if operator.kind == "unknown":
            self.unknown.add(operator.name)
        inputs, outputs = find_tensors((*args, *kwargs.values())), find_tensors((out,))
        if any(not t.is_cpu for t in inputs) and all(t.is_cpu for t in outputs):
            self._waits.update(self._running)
            return
        launched = operator.launches(inputs, outputs)
        self.memory.operator(inputs, outputs, launches=launched)
        if not launched:
            return
        flops, moved = operator.flops(out, *args, **kwargs), operator.traffic(inputs, outputs)
        launches, amount = self.own.setdefault(operator.name, (Counter(), Counter()))
        times = self.memory.times
        launches[self._running[-1]] += times
        amount[self._running[-1]] += times * moved
        for path in self._running:
            self.elementwise_flops[path] += times * flops
            self.eager_bytes[path] += times * moved
            self.dispatches[path] += times


def _as_a_gpu_lays_it_out(out: Tensor) -> Tensor:
    """Return attention's result ``[B, H, S, d]`` in memory as ``[B, S, H, d]``.

    So do the fused kernels of a GPU, and merging the heads is a view; the
    decomposition that runs elsewhere leaves them in another order.
    """
    laid_out = torch.empty_like(out.transpose(1, 2), memory_format=torch.contiguous_format)
    return laid_out.transpose(1, 2).copy_(out)
