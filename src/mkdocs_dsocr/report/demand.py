"""What a workload asks of a GPU, whichever that is: counted once, then timed for each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.tree import Visit
from mkdocs_dsocr.models import STAGES, Plan, Routing, build, pass_layer, plan
from mkdocs_dsocr.report.kernels import Kernels, Times
from mkdocs_dsocr.report.memory import (
    Array,
    StageMemory,
    footprints,
    run_memories,
    stage_memory,
)
from mkdocs_dsocr.report.tally import Node, Tally, merged, tally, timed
from mkdocs_dsocr.trace import PassShape


@dataclass(frozen=True)
class Work:
    """Counts, and the kernels that they are counts of."""

    counts: Tally
    kernels: Kernels

    def on(self, hardware: Hardware) -> Tally:
        """Return the counts with the time that the kernels take on a GPU, one after another."""
        return _timed(self.counts, self.kernels.timed(hardware), [0])


@dataclass(frozen=True)
class Demand:
    """A model and a workload, counted.

    Parameters
    ----------
    config, workload
        The inputs.
    source
        Where the workload was read, for messages.
    routing
        The routing of a trace, where formulas are compared with it.
    only_ends
        Whether each loop is counted at its first and last step only.
    """

    config: ModelConfig
    workload: Workload
    source: str
    routing: Routing | None = None
    only_ends: bool = False

    @cached_property
    def plan(self) -> Plan:
        found = plan(self.config, self.workload, self.source)
        return found.with_ends_of_loops() if self.only_ends else found

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node of the layer tree, by ``module_id``, parents first; without times."""
        return tally(self._visits)

    @cached_property
    def steps(self) -> dict[str, Work]:
        """One run of the prefill, and of the first, middle and last decode step."""
        prefill = next(run for run in self.plan.runs if run.stage == "prefill")
        shapes, steps = {"prefill": prefill.first}, self.plan.steps
        if steps:
            at = {"first": 1, "middle": (steps + 1) // 2, "last": steps}
            shapes |= {name: self.plan.step(number) for name, number in at.items()}
        return {name: self.work(shape) for name, shape in shapes.items()}

    @property
    def run_memories(self) -> list[StageMemory]:
        """What is in memory in each run of the plan, at its last step."""
        runs = run_memories(self.config, self.plan, self._weight_bytes)
        return [memory for _, memory in runs]

    @cached_property
    def stage_memory(self) -> dict[str, StageMemory]:
        """What is in memory in each stage, when it has most."""
        return stage_memory(self.config, self.plan, self._weight_bytes)

    def footprints(self, memory_gb: float) -> Array:
        """Return the bytes of the stage that needs most, up to the last batch that may fit."""
        known = self._footprints
        if not any(memory_gb <= gb for gb in known):
            known[memory_gb] = footprints(self.config, self.plan, self._weight_bytes, memory_gb)
        return known[min(gb for gb in known if memory_gb <= gb)]

    def nodes_on(self, hardware: Hardware) -> dict[str, Node]:
        """Return every node with the time that it takes on a GPU."""
        return timed(self.nodes, self._node_kernels, hardware)

    @cached_property
    def _footprints(self) -> dict[float, Array]:
        return {}

    def stages_on(self, hardware: Hardware) -> dict[str, Tally]:
        """Return the work of each stage with the time that it takes on a GPU."""
        times, stages = self._node_kernels.timed(hardware), self._stage_of_nodes
        return {
            stage: _timed(work, times, [i for i, name in enumerate(stages) if name == stage])
            for stage, work in self._stages.items()
        }

    @cached_property
    def _stages(self) -> dict[str, Tally]:
        nodes = self.nodes.values()
        return {s: merged(n.own for n in nodes if n.stage == s) for s in STAGES}

    @cached_property
    def _stage_of_nodes(self) -> list[str]:
        return [node.stage for node in self.nodes.values()]

    @cached_property
    def _model(self) -> BaseLayer:
        return build(self.config, self.plan, self.routing)

    @cached_property
    def _visits(self) -> list[Visit]:
        return list(tree.walk(self._model))

    @cached_property
    def _node_kernels(self) -> Kernels:
        places = {module_id: index for index, module_id in enumerate(self.nodes)}
        return Kernels((places[v.module_id], v) for v in self._visits)

    @cached_property
    def _weight_bytes(self) -> int:
        return int(tree.resident(self._model, metrics.weight_bytes))  # type: ignore[arg-type]

    def work(self, shape: PassShape) -> Work:
        """Return what one run of a pass comes to."""
        visits = list(tree.walk(pass_layer(self.config, shape, self.workload)))
        counts = Tally(
            dispatches=sum(v.dispatches() for v in visits),  # type: ignore[misc]
            synchronisations=sum(v.summed(metrics.synchronisations) for v in visits),  # type: ignore[misc]
        )
        return Work(counts, Kernels((0, visit) for visit in visits))


def _timed(counts: Tally, times: Times, rows: list[int]) -> Tally:
    """Return counts with the time of some nodes."""
    return dataclasses.replace(
        counts,
        times_ms=times.by_ceiling[rows].sum(axis=0).tolist(),
        least_tensor_ms=float(times.least_tensor[rows].sum()),
    )


@lru_cache(maxsize=64)
def demand(config: ModelConfig, workload: Workload, source: str) -> Demand:
    """Return what a workload asks: the same object as long as its inputs are the same."""
    return Demand(config, workload, source)
