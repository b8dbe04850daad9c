"""A workload's cost: counted once, then timed on any GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from mkdocs_dsocr.cost.kernels import Kernels
from mkdocs_dsocr.cost.memory import (
    Array,
    StageMemory,
    footprints,
    run_memories,
    stage_memory,
)
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.time import host_ms, stage_ms
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
class StageTime:
    """Times of a stage or a pass, in ms.

    Attributes
    ----------
    device_ms
        The sum of its kernels, each under the ceiling that binds it.
    host_ms
        Launches and waits × what they cost the host.
    floor_ms
        The minimum time.
    ceiling
        What binds most of the device time.
    """

    device_ms: float
    host_ms: float
    floor_ms: float
    ceiling: str

    @property
    def is_host_bound(self) -> bool:
        """Whether the device waits for the host."""
        return self.host_ms > self.device_ms

    @property
    def time_ms(self) -> float:
        """The estimate."""
        return max(self.device_ms, self.host_ms)

    @property
    def binding(self) -> str:
        return "host" if self.is_host_bound else self.ceiling


def stage_time(totals: Totals, per: MsPer, replays: int = 0) -> StageTime:
    """Return the times of what has been counted and timed.

    Parameters
    ----------
    totals
        Counts, and the device time of their kernels.
    per
        The GPU and its host.
    replays
        The number of CUDA graph launches that stand for all launches and waits; 0 for none.
    """
    found = stage_ms(
        totals.counts, totals.device_time_ms, totals.causal_ms, per, bool(replays), replays
    )
    return StageTime(
        device_ms=float(found["device_time_ms"]),
        host_ms=float(found["host_time_ms"]),
        floor_ms=float(found["floor_time_ms"]),
        ceiling=totals.binding_ceiling,
    )


@dataclass(frozen=True)
class PassCost:
    """One run of a pass, counted."""

    dispatches: int
    host_syncs: int
    kernels: Kernels

    def on(self, per: MsPer, replays: int = 0) -> StageTime:
        """Return its times on a GPU, without a minimum time; `replays` as :func:`stage_time`."""
        times, totals = self.kernels.timed(per), Totals()
        totals.counts |= {
            "dispatches": self.dispatches,
            "host_syncs": self.host_syncs,
        }
        totals.device_by_ceiling = times.by_ceiling.sum(axis=0).tolist()
        totals.causal_ms = float(times.causal.sum())
        return stage_time(totals, per, replays)


@dataclass(frozen=True)
class Timed:
    """A workload on a GPU.

    Attributes
    ----------
    totals, stages
        The sum of each stage's nodes, and the stage's times.
    counted, own
        Every node without times, and the totals of each without its children, with them.
    """

    totals: Mapping[str, Totals]
    stages: Mapping[str, StageTime]
    counted: Mapping[str, Node]
    own: Mapping[str, Totals]

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every node of the layer tree, by ``module_id``, parents first."""
        nodes = {
            name: dataclasses.replace(node, own=self.own[name], total=node.total.untimed())
            for name, node in self.counted.items()
        }
        for node in reversed(nodes.values()):
            node.total.add_times(node.own)
            if node.visit.parent_id is not None:
                nodes[node.visit.parent_id].total.add_times(node.total)
        return nodes


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
        per = ms_per(hardware)
        own = {name: node.own.untimed() for name, node in self.nodes.items()}
        self._set_times(own, per)
        totals = {stage: counted.untimed() for stage, counted in self._stages.items()}
        for name, node in self.nodes.items():
            if node.stage in totals:
                totals[node.stage].add_times(own[name])
        stages = {stage: stage_time(totals[stage], per, self.replays(stage)) for stage in STAGES}
        for name, node in self.nodes.items():
            bound = node.stage in stages and stages[node.stage].is_host_bound
            own[name].time_ms = own[name].host_time_ms if bound else own[name].device_time_ms
        for stage in STAGES:
            totals[stage].time_ms = stages[stage].time_ms
        return Timed(totals, stages, self.nodes, own)

    def _set_times(self, own: Mapping[str, Totals], per: MsPer) -> None:
        """Set device and host time of every node without its children."""
        times, families = self._kernels.timed(per), self._kernels.families
        for index, (name, totals) in enumerate(own.items()):
            stage = self.nodes[name].stage
            launches, waits = totals.dispatches, totals.host_syncs
            if replays := self.replays(stage):  # the pass as a whole is launched
                launches, waits = replays if name == stage else 0, 0
            totals.host_time_ms = host_ms(launches, waits, per)
            totals.device_by_ceiling = times.by_ceiling[index].tolist()
            totals.causal_ms = float(times.causal[index])
            for family, ms in zip(families, times.by_family[index].tolist(), strict=True):
                if family in totals.families:
                    totals.families[family].device_time_ms = ms

    @cached_property
    def _stages(self) -> dict[str, Totals]:
        """The counts of each stage."""
        nodes = self.nodes.values()
        return {s: merged(n.own for n in nodes if n.stage == s) for s in STAGES}

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
            at = {"first": 1, "middle": (steps + 1) // 2, "last": steps}
            shapes |= {name: self.plan.step(number) for name, number in at.items()}
        return {name: self.pass_cost(shape) for name, shape in shapes.items()}

    def pass_cost(self, shape: PassShape) -> PassCost:
        """Return the cost of one run of a pass."""
        visits = list(tree.walk(pass_layer(self.config, shape, self.plan.workload)))
        return PassCost(
            dispatches=_sum(v.launched() for v in visits),
            host_syncs=_sum(v.summed(metrics.host_syncs) for v in visits),
            kernels=Kernels((0, visit) for visit in visits),
        )

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


@lru_cache(maxsize=64)
def workload_cost(config: ModelConfig, workload: Workload, source: str) -> WorkloadCost:
    """Return what a workload costs: the same object as long as its inputs are the same."""
    return WorkloadCost(config, workload, source)
