"""Decode with many sequences at once: rates up to the memory wall, and where compute binds.

The same formulas, given an array of batch sizes in place of one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mkdocs_dsocr.cost.memory import LIMIT, Array, fitting
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.time import CEILINGS, by_part, host_ms
from mkdocs_dsocr.cost.work import exposed_ms, parts_ms, start_ms, works
from mkdocs_dsocr.cost.workload import WorkloadCost
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.report import schema


def serving(cost: WorkloadCost, hardware: Hardware, needed: Array) -> schema.Serving | None:
    """Return rates and memory of a decode step for every batch size that fits the GPU.

    Parameters
    ----------
    cost, hardware
        Workload and GPU; the context is the workload's middle step.
    needed
        ``[batch sizes]``: bytes of the stage that needs most memory.

    Returns
    -------
    None where the workload decodes nothing.
    """
    plan = cost.plan
    if not plan.steps:
        return None
    import numpy

    shape = plan.step((plan.steps + 1) // 2)
    batches = numpy.arange(1, LIMIT + 1)
    any_batch: Any = batches
    group = pass_layer(
        cost.config, dataclasses.replace(shape, batch=any_batch), plan.workload, like=shape
    )
    visits, per = list(tree.walk(group, "decode")), ms_per(hardware)
    modules: dict[str, Array] = {}
    for visit in visits:
        modules[visit.module_id] = modules.get(visit.module_id, 0) + _times(visit, per, batches)
    device = sum(times.sum(axis=0) for times in modules.values())
    host = numpy.broadcast_to(
        _host_ms(visits, per, plan.workload.host_mode == "cuda_graph"), device.shape
    )
    step = numpy.maximum(device, host)
    largest = fitting(needed, hardware.room_bytes)
    return schema.Serving(
        context=shape.kv_len,
        limit=LIMIT,
        largest_batch=largest,
        points=[
            schema.ServingPoint(
                batch=b,
                tpot_ms=float(step[b - 1]),
                device_time_ms=float(device[b - 1]),
                host_time_ms=float(host[b - 1]),
                tokens_per_s=1000 * b / float(step[b - 1]),
                memory_bytes=int(needed[b - 1]),
            )
            for b in _shown(largest or 0)
        ],
        critical_batches={
            visit.module_id: _critical(visit, per)
            for visit in visits
            if any(kernel.compute_dtype is not None for kernel in visit.layer.kernels())
        },
    )


def _times(visit: NodeVisit, per: MsPer, batches: Array) -> Array:
    """Return ``[ceilings, batch sizes]``: a module's own kernels by the ceiling that binds each."""
    import numpy

    result, ones = numpy.zeros((len(CEILINGS), len(batches))), numpy.ones(len(batches))
    for _, work, _ in works(visit):
        parts = parts_ms(work, per, work.activations)
        one = numpy.array([numpy.broadcast_to(t, batches.shape) for t in parts], float)
        longest = by_part(one, one, ones)
        longest[one.argmax(axis=0), batches - 1] += exposed_ms(work, parts)
        tensor, cuda, memory, l2 = longest
        spent = numpy.array([tensor, cuda, memory + l2, ones * start_ms(work, per)])
        result += visit.modules * visit.calls * spent
    return result


def _host_ms(visits: list[NodeVisit], per: MsPer, is_graph: bool) -> Array:
    if is_graph:
        return host_ms(1, 0, per)
    launches: Array = sum(v.launched() for v in visits)
    waits: Array = sum(v.summed(metrics.synchronisations) for v in visits)
    return host_ms(launches, waits, per)


def _shown(fitting: int) -> list[int]:
    """Return the powers of two that fit, and the largest batch."""
    powers = [2**n for n in range(fitting.bit_length()) if 2**n <= fitting]
    return powers if not fitting or powers[-1] == fitting else [*powers, fitting]


def _critical(visit: NodeVisit, per: MsPer) -> int | None:
    """Return the first batch whose products take as long as its bytes, if any does.

    Both at the achieved rates of large kernels: whole tiles take time before that, which further
    rows then fill.
    """
    kernels = [k for k in visit.layer.kernels() if k.compute_dtype is not None]
    moved: Any = sum(k.io_bytes * per.memory_ms for k in kernels)
    products: Any = sum(
        k.tensor_core_flops * per.tensor_peak[k.compute_dtype] * per.tensor_factor
        for k in kernels
        if k.compute_dtype is not None
    )
    compute = products >= moved
    return int(compute.argmax()) + 1 if compute.any() else None
