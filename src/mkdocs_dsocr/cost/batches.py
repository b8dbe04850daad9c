"""One decode step with other batches: what each module class comes to."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from mkdocs_dsocr.cost.kernels import Kernels
from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.cost.totals import Node, Totals, count, merged
from mkdocs_dsocr.cost.workload import WorkloadCost
from mkdocs_dsocr.inputs import Hardware, ModelConfig
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.models import Plan, pass_layer


def middle_step(cost: WorkloadCost, hardware: Hardware, batch: int) -> dict[str, Totals]:
    """Return the own work and device time of each module class in the middle decode step.

    Parameters
    ----------
    cost, hardware
        A workload that decodes, and a GPU.
    batch
        Sequences that are decoded together.
    """
    nodes, kernels = _counted(cost.config, cost.plan, batch)
    classes: dict[str, list[Totals]] = {}
    for node, by_ceiling in zip(nodes, kernels.times(ms_per(hardware)).by_ceiling, strict=True):
        own = dataclasses.replace(node.own, device_by_ceiling=by_ceiling.tolist())
        if node.class_name != "Group":
            classes.setdefault(node.class_name, []).append(own)
    return {name: merged(parts) for name, parts in classes.items()}


@lru_cache(maxsize=32)
def _counted(config: ModelConfig, plan: Plan, batch: int) -> tuple[list[Node], Kernels]:
    """Return the nodes of a step and their kernels, once for all GPUs."""
    shape = dataclasses.replace(plan.step(plan.middle), batch=batch)
    visits = list(tree.walk(pass_layer(config, shape, plan.workload), "decode"))
    nodes = count(visits)
    places = {module_id: index for index, module_id in enumerate(nodes)}
    return list(nodes.values()), Kernels((places[visit.module_id], visit) for visit in visits)
