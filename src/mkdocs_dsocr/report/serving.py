"""Decode with many sequences at once: rates up to the memory wall, and where compute binds.

The same formulas, given an array of batch sizes in place of one.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from mkdocs_dsocr.cost.memory import LIMIT, Array, fitting
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.time import host_ms
from mkdocs_dsocr.cost.work import exposed_ms, parts_ms, start_ms, works
from mkdocs_dsocr.cost.workload import WorkloadCost
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.report import schema
from mkdocs_dsocr.trace import PassShape


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

    largest, per = fitting(needed, hardware.room_bytes), ms_per(hardware)
    shape = plan.step(plan.middle)
    every = _visits(cost, shape, numpy.arange(1, LIMIT + 1))
    shown = numpy.array(_shown(largest or 0), int)
    visits = _visits(cost, shape, shown)
    device = sum(_device_ms(visit, per) for visit in visits) + numpy.zeros(len(shown))
    is_graph = plan.workload.host_mode == "cuda_graph"
    host = numpy.broadcast_to(_host_ms(visits, per, is_graph), shown.shape)
    step = numpy.maximum(device, host)
    return schema.Serving(
        context=shape.kv_len,
        limit=LIMIT,
        largest_batch=largest,
        points=[
            schema.ServingPoint(
                batch=b,
                tpot_ms=float(step[i]),
                device_time_ms=float(device[i]),
                host_time_ms=float(host[i]),
                tokens_per_s=1000 * b / float(step[i]),
                memory_bytes=int(needed[b - 1]),
            )
            for i, b in enumerate(shown.tolist())
        ],
        critical_batches={
            visit.module_id: _critical(visit, per)
            for visit in every
            if any(kernel.compute_dtype is not None for kernel in visit.layer.kernels())
        },
    )


def _visits(cost: WorkloadCost, shape: PassShape, batches: Array) -> list[NodeVisit]:
    """Return the nodes of a decode step with arrays of batch sizes."""
    step = dataclasses.replace(shape, batch=batches)
    return list(tree.walk(pass_layer(cost.config, step, cost.plan.workload, like=shape), "decode"))


def _device_ms(visit: NodeVisit, per: MsPer) -> Array:
    """Return the time of a module's own kernels, by batch size."""
    import numpy

    result: Array = 0
    for _, work, _ in works(visit):
        parts = parts_ms(work, per, work.activations)
        longest = functools.reduce(numpy.maximum, parts)
        result = result + longest + exposed_ms(work, parts) + start_ms(work, per)
    return visit.modules * visit.calls * result


def _host_ms(visits: list[NodeVisit], per: MsPer, is_graph: bool) -> Array:
    if is_graph:
        return host_ms(1, 0, per)
    launches: Array = sum(v.launched() for v in visits)
    waits: Array = sum(v.summed(metrics.host_syncs) for v in visits)
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
