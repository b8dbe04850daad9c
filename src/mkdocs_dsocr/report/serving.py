"""Decode with many sequences at once: rates up to the memory wall, and where compute binds.

The same formulas, given an array of batch sizes in place of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from mkdocs_dsocr.inputs import Hardware, ModelConfig
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.tree import Visit
from mkdocs_dsocr.models import Plan, pass_layer
from mkdocs_dsocr.report import schema
from mkdocs_dsocr.report.memory import LIMIT, Array, fitting
from mkdocs_dsocr.report.timing import CEILINGS, rates_per_ms
from mkdocs_dsocr.trace import PassShape


@dataclass
class _Module:
    """A module's own kernels: time by ceiling, and whether any is a matrix product."""

    times_ms: list[Array] = field(default_factory=lambda: [0.0] * len(CEILINGS))
    has_products: bool = False


def serving(
    config: ModelConfig, plan: Plan, hardware: Hardware, needed: Array
) -> schema.Serving | None:
    """Return rates and memory of a decode step for every batch size that fits the GPU.

    Parameters
    ----------
    config, plan, hardware
        Model, workload and GPU; the context is the workload's middle step.
    needed
        Bytes of the stage that needs most memory, for each batch size.

    Returns
    -------
    None where the workload decodes nothing.
    """
    if not plan.steps:
        return None
    shape = plan.step((plan.steps + 1) // 2)
    import numpy

    batches = numpy.arange(1, LIMIT + 1)
    visits = list(_visits(config, plan, shape, batches))
    modules = _modules(visits, hardware)
    device: Array = sum(sum(m.times_ms) for m in modules.values())
    host = _host_ms(visits, hardware, plan.workload.host_mode)
    largest = fitting(needed, hardware.memory_gb)
    step = numpy.maximum(device, host)
    return schema.Serving(
        context=shape.kv_len,
        limit=LIMIT,
        largest_batch=largest,
        points=[
            schema.ServingPoint(
                batch=b,
                tpot_ms=float(step[b - 1]),
                device_time_ms=float(device[b - 1]),
                host_time_ms=float(numpy.broadcast_to(host, step.shape)[b - 1]),
                tokens_per_s=1000 * b / float(step[b - 1]),
                memory_bytes=int(needed[b - 1]),
            )
            for b in _shown(largest or 0)
        ],
        critical_batches={
            module_id: _critical(module.times_ms)
            for module_id, module in modules.items()
            if module.has_products
        },
    )


def _visits(config: ModelConfig, plan: Plan, shape: PassShape, batches: Array) -> Iterator[Visit]:
    shape = dataclasses.replace(shape, batch=batches)
    yield from tree.walk(pass_layer(config, shape, plan.workload), "decode")


def _modules(visits: list[Visit], hardware: Hardware) -> dict[str, _Module]:
    """Return the time of each module's own kernels by the ceiling that binds them."""
    import numpy

    modules: dict[str, _Module] = {}
    for visit in visits:
        module = modules.setdefault(visit.module_id, _Module())
        for kernel in visit.layer.kernels():
            work = (kernel.tensor_core_flops, kernel.cuda_core_flops, kernel.io_bytes)
            times: list[Array] = [
                visit.modules * visit.calls * w / rate  # type: ignore[operator]
                for w, rate in zip(work, rates_per_ms(kernel.rate, hardware), strict=True)
            ]
            longest = numpy.maximum(numpy.maximum(times[0], times[1]), times[2])
            module.times_ms = [
                total + numpy.where(t == longest, longest, 0.0)
                for total, t in zip(module.times_ms, times, strict=True)
            ]
            module.has_products |= not isinstance(kernel.tensor_core_flops, int)
    return modules


def _host_ms(visits: list[Visit], hardware: Hardware, mode: str) -> Array:
    host = hardware.host
    if host is None:
        return 0.0
    if mode == "cuda_graph":
        return host.dispatch_us / 1000
    launches: Array = sum(v.dispatches() for v in visits)
    waits: Array = sum(v.summed(metrics.synchronisations) for v in visits)
    return (launches * host.dispatch_us + waits * host.synchronise_us) / 1000


def _shown(fitting: int) -> list[int]:
    """Return the powers of two that fit, and the largest batch."""
    powers = [2**n for n in range(fitting.bit_length()) if 2**n <= fitting]
    return powers if not fitting or powers[-1] == fitting else [*powers, fitting]


def _critical(times_ms: list[Array]) -> int | None:
    """Return the first batch at which compute takes as long as memory, if any does."""
    compute = times_ms[0] + times_ms[1] >= times_ms[2]
    return int(compute.argmax()) + 1 if compute.any() else None
