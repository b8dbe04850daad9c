"""A workload's cost: counted once, then timed on any GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final
from weakref import WeakValueDictionary

from mkdocs_dsocr.cost.kernels import Kernels
from mkdocs_dsocr.cost.memory import (
    Array,
    StageMemory,
    footprints,
    run_memories,
    stage_memory,
)
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.time import host_ms
from mkdocs_dsocr.cost.timed import StageTime, Timed, stage_time
from mkdocs_dsocr.cost.totals import Node, Totals, count, merged
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.models import STAGES, Plan, Routing, build, pass_layer, plan
from mkdocs_dsocr.quantities import Quantity
from mkdocs_dsocr.trace import PassShape

MOST_TIMED: Final = 64
"""GPUs whose times a workload keeps."""


@dataclass(frozen=True)
class PassCost:
    """One run of a pass, counted.

    Attributes
    ----------
    dispatches, host_syncs
        Its launches and waits.
    kernels, place
        Its kernels are those of the node at this place, among the kernels of other runs.
    """

    dispatches: int
    host_syncs: int
    kernels: Kernels
    place: int

    def on(self, per: MsPer, replays: int = 0) -> StageTime:
        """Return its times on a GPU, without a minimum time; `replays` as :func:`stage_time`."""
        counts = {"dispatches": self.dispatches, "host_syncs": self.host_syncs}
        counts["compulsory_io_bytes"] = 0
        return stage_time(counts, *self.kernels.times(per).sums([self.place]), per, replays)


@dataclass(frozen=True)
class WorkloadCost:
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
        """The workload resolved against the model."""
        found = plan(self.config, self.workload, self.source)
        return found.with_ends_of_loops() if self.only_ends else found

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node of the layer tree, by ``module_id``, parents first, without times."""
        return count(self._visits)

    def on(self, hardware: Hardware) -> Timed:
        """Return the workload with its times on a GPU, kept for the last ones."""
        if hardware not in self._timed:
            if len(self._timed) == MOST_TIMED:
                self._timed.pop(next(iter(self._timed)))
            self._timed[hardware] = self._on(hardware)
        return self._timed[hardware]

    @cached_property
    def _timed(self) -> dict[Hardware, Timed]:
        return {}

    def _on(self, hardware: Hardware) -> Timed:
        per, kernels = ms_per(hardware), self._kernels
        times = kernels.times(per)
        stages = {
            stage: stage_time(counted.counts, *times.sums(places), per, self.replays(stage))
            for stage, (counted, places) in self._stages.items()
        }
        counted = {stage: totals for stage, (totals, _) in self._stages.items()}
        host = host_ms(*self._launched, per)
        return Timed(stages, self.nodes, counted, kernels.families, times, host)

    @cached_property
    def _stages(self) -> dict[str, tuple[Totals, list[int]]]:
        """The counts of each stage, and the places of its nodes."""
        found: dict[str, list[int]] = {stage: [] for stage in STAGES}
        nodes = list(self.nodes.values())
        for place, node in enumerate(nodes):
            if node.stage in found:
                found[node.stage].append(place)
        return {s: (merged(nodes[i].own for i in places), places) for s, places in found.items()}

    @cached_property
    def _launched(self) -> tuple[Array, Array]:
        """The launches and the waits of each node; a pass that is replayed is launched as one."""
        import numpy as np

        found = []
        for name, node in self.nodes.items():
            launches, waits = node.own.dispatches, node.own.host_syncs
            if replays := self.replays(node.stage):
                launches, waits = replays if name == node.stage else 0, 0
            found.append((float(launches), float(waits)))
        launched, waited = np.array(found).T
        return launched, waited

    def replays(self, stage: str) -> int:
        """Return the CUDA graph launches of a stage: one per decode step where it is replayed."""
        if stage != "decode" or self.workload.host_mode != "cuda_graph":
            return 0
        return sum(run.calls * run.steps for run in self.plan.runs if run.stage == stage)

    @cached_property
    def steps(self) -> dict[str, PassCost]:
        """One run of the prefill, and of the first, middle and last decode step."""
        prefill = next(run for run in self.plan.runs if run.stage == "prefill")
        shapes, steps = {"prefill": prefill.first}, self.plan.steps
        if steps:
            at = {"first": 1, "middle": self.plan.middle, "last": steps}
            shapes |= {name: self.plan.step(number) for name, number in at.items()}
        return dict(zip(shapes, self._pass_costs(*shapes.values()), strict=True))

    def pass_cost(self, shape: PassShape) -> PassCost:
        """Return the cost of one run of a pass."""
        [found] = self._pass_costs(shape)
        return found

    def _pass_costs(self, *shapes: PassShape) -> list[PassCost]:
        runs = [list(tree.walk(pass_layer(self.config, s, self.plan.workload))) for s in shapes]
        kernels = Kernels((place, visit) for place, visits in enumerate(runs) for visit in visits)
        return [
            PassCost(
                dispatches=_sum(v.launched() for v in visits),
                host_syncs=_sum(v.summed(metrics.host_syncs) for v in visits),
                kernels=kernels,
                place=place,
            )
            for place, visits in enumerate(runs)
        ]

    @property
    def run_memories(self) -> list[StageMemory]:
        """What is in memory in each run of the plan, at its last step."""
        runs = run_memories(self.config, self.plan, self._weight_bytes)
        return [memory for _, memory in runs]

    @cached_property
    def stage_memory(self) -> dict[str, StageMemory]:
        """What is in memory in each stage, when it has most."""
        return stage_memory(self.config, self.plan, self._weight_bytes)

    def footprints(self, room_bytes: float) -> Array:
        """Return the bytes of the stage that needs most, up to the last batch that may fit."""
        known = self._footprints
        if not any(room_bytes <= room for room in known):
            known[room_bytes] = footprints(self.config, self.plan, self._weight_bytes, room_bytes)
        return known[min(room for room in known if room_bytes <= room)]

    @cached_property
    def _footprints(self) -> dict[float, Array]:
        return {}

    @cached_property
    def _model(self) -> BaseLayer:
        return build(self.config, self.plan, self.routing)

    @cached_property
    def _visits(self) -> list[NodeVisit]:
        return list(tree.walk(self._model))

    @cached_property
    def _kernels(self) -> Kernels:
        places = {module_id: index for index, module_id in enumerate(self.nodes)}
        return Kernels((places[v.module_id], v) for v in self._visits)

    @cached_property
    def _weight_bytes(self) -> int:
        return int(tree.resident(self._model, metrics.weight_bytes))  # type: ignore[arg-type]


def _sum(quantities: Iterable[Quantity]) -> int:
    return sum(quantities)  # type: ignore[arg-type]


_USED: WeakValueDictionary[tuple[ModelConfig, Workload, str], WorkloadCost]
_USED = WeakValueDictionary()


@lru_cache(maxsize=16)
def workload_cost(config: ModelConfig, workload: Workload, source: str) -> WorkloadCost:
    """Return what a workload costs: one object for the same inputs, as long as it is used.

    The last ones are kept in any case.
    """
    key = config, workload, source
    found = _USED.get(key)
    if found is None:
        found = _USED[key] = WorkloadCost(*key)
    return found
