"""One predicted decode step on two lanes, host and device: a file for Perfetto and Chrome.

The format is Chrome's Trace Event Format: a slice is ``{"ph": "X", "ts": µs, "dur": µs}``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from mkdocs_dsocr.cost.kernels import Kernels
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.time import host_ms
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.layer import Child, Layer
from mkdocs_dsocr.layers.operations import Operation
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.report.analysed import Analysed

HOST: Final = 1
DEVICE: Final = 2
LANES: Final = {HOST: "host", DEVICE: "device"}
US: Final = 1000
"""Microseconds per millisecond."""


def decode_step(analysis: Analysed) -> str | None:
    """Return the middle decode step of a workload's first batch as JSON.

    The host launches one operator after another and does not wait unless the code reads a value.
    A kernel starts when its last operator is launched and the kernel before it has ended. The
    slices of a lane add up to the device and host time of the estimate.

    Returns
    -------
    None if the workload has no decode step.
    """
    plan, cost = analysis.plan, analysis.cost
    if not plan.steps:
        return None
    number, per = plan.middle, ms_per(analysis.hardware)
    is_graph = analysis.workload.host_mode == "cuda_graph"
    root = pass_layer(analysis.config, plan.step(number), plan.workload)
    lanes = _Lanes(list(tree.walk(root)), per, is_graph)
    lanes.run(root, "")
    times = cost.steps["middle"].on(per, int(is_graph))
    names = [
        {"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": lane}}
        for tid, lane in LANES.items()
    ]
    content = {
        "displayTimeUnit": "ms",
        "otherData": {
            "report_id": analysis.report_id,
            "step": f"{number:,} of {plan.steps:,}",
            "predicted_time_ms": times.time_ms,
            "device_time_ms": times.device_ms,
            "host_time_ms": times.host_ms,
        },
        "traceEvents": names + lanes.events,
    }
    return json.dumps(content) + "\n"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class _OneKernel(Layer):
    """A layer that runs a single kernel, so that the engine gives the time of that kernel."""

    kernel: Kernel

    def operations(self) -> tuple[Operation, ...]:
        return self.kernel.operations

    def kernels(self) -> list[Kernel]:
        return [self.kernel]


def _kernel_ms(visits: Iterable[NodeVisit], per: MsPer) -> dict[int, float]:
    """Return the time of each kernel in one call of its layer, in ms, by the kernel's ``id``."""
    pairs = []
    for visit in visits:
        for kernel in visit.layer.kernels():
            alone = _OneKernel(kernel=kernel, precision=visit.layer.precision)
            once = dataclasses.replace(visit, layer=alone, last=alone, modules=1, calls=1)
            pairs.append((kernel, once))
    times = Kernels((i, visit) for i, (_, visit) in enumerate(pairs)).times(per)
    sums = times.by_ceiling.sum(axis=1).tolist()
    return {id(kernel): ms for (kernel, _), ms in zip(pairs, sums, strict=True)}


@dataclass
class _Lanes:
    """The slices of both lanes, and the time in µs up to which each is filled."""

    visits: list[NodeVisit]
    per: MsPer
    is_graph: bool
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kernel_ms = _kernel_ms(self.visits, self.per)
        self._active = {id(visit.layer): visit.active for visit in self.visits}
        self._end = dict.fromkeys(LANES, 0.0)
        if self.is_graph:
            self._slice(HOST, "launch of the CUDA graph", host_ms(1, 0, self.per))

    def run(self, layer: Layer, path: str) -> None:
        """Add what a layer runs, children included."""
        last_operations = {id(kernel.operations[-1]): kernel for kernel in layer.kernels()}
        for step in layer.schedule:
            if isinstance(step, Operation):
                self._launch(step, self._active[id(layer)])
                if (kernel := last_operations.get(id(step))) is not None:
                    self._execute(kernel)
            elif isinstance(step, Child):
                for name in expand(step.name) if step.active is None else (step.name,):
                    inner = f"{path}.{name}".lstrip(".")
                    for _ in range(step.calls):
                        with self._module(inner, step.layer):
                            self.run(step.layer, inner)

    @contextmanager
    def _module(self, path: str, layer: Layer) -> Iterator[None]:
        """Put a slice around everything that a module adds to a lane."""
        first = len(self.events)
        yield
        for lane in LANES:
            inside = (event["ts"] for event in self.events[first:] if event["tid"] == lane)
            if (start := next(inside, None)) is not None:
                args = {"class": layer.class_name()}
                self.events.append(_event(lane, path, start, self._end[lane], args))

    def _launch(self, operation: Operation, active: Any) -> None:
        if not self.is_graph:
            launches = host_ms(active * operation.launches, 0, self.per)
            self._slice(HOST, operation.name, launches)
            wait = host_ms(0, operation.host_syncs, self.per)
            self._slice(HOST, f"wait for {operation.name}", wait)

    def _execute(self, kernel: Kernel) -> None:
        self._end[DEVICE] = max(self._end.values())
        flops = kernel.tensor_core_flops + kernel.cuda_core_flops
        args = {"family": kernel.category, "flops": int(flops), "bytes": int(kernel.io_bytes)}  # type: ignore[arg-type]
        self._slice(DEVICE, kernel.name, self._kernel_ms[id(kernel)], args)

    def _slice(self, lane: int, name: str, ms: Any, args: dict[str, Any] | None = None) -> None:
        start = self._end[lane]
        self._end[lane] = start + US * float(ms)
        if self._end[lane] > start:
            self.events.append(_event(lane, name, start, self._end[lane], args or {}))


def _event(lane: int, name: str, start: float, end: float, args: dict[str, Any]) -> dict[str, Any]:
    """Return a slice, its borders in whole nanoseconds: what is nested stays nested."""
    ts = round(start, 3)
    times = {"ts": ts, "dur": round(round(end, 3) - ts, 3)}
    return {"ph": "X", "pid": 1, "tid": lane, "name": name, **times, "args": args}
