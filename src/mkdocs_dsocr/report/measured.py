"""A measurement beside the prediction: the same stages and modules, and what explains the gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.inputs.hardware import Rates
from mkdocs_dsocr.inputs.measurement import MeasuredPass, Measurement
from mkdocs_dsocr.models import STAGES, Plan, Run
from mkdocs_dsocr.report.tally import Node, Tally, merged
from mkdocs_dsocr.trace import PassShape

CLOSE = 0.2
"""A gap up to this share of the measured time counts as explained."""


@dataclass(frozen=True)
class Task:
    """A pass to be measured, and its modules: ``module_id`` and pattern of paths."""

    shape: PassShape
    modules: tuple[tuple[str, str], ...] = ()


def tasks(plan: Plan, nodes: Mapping[str, Node]) -> list[Task]:
    """Return what has to be run: each pass; a loop at its first, middle and last step.

    Modules are timed once a run: in a loop at its middle step.
    """
    result: dict[PassShape, Task] = {}
    for run in plan.runs:
        modules = tuple(
            (module_id, node.visit.torch_path)
            for module_id, node in nodes.items()
            if node.visit.pass_id == run.first.pass_id and node.visit.torch_path
        )
        for shape in points(run):
            inner = modules if shape == middle(run) else ()
            if inner or shape not in result:
                result[shape] = Task(shape, inner)
    return list(result.values())


def middle(run: Run) -> PassShape:
    """Return the shape of the middle step of a loop (of its only one)."""
    return run.at((run.steps + 1) // 2)


def points(run: Run) -> tuple[PassShape, PassShape, PassShape]:
    """Return the shapes at which a run is measured: first, middle and last step."""
    return run.first, middle(run), run.last


def check_covers(plan: Plan, measurement: Measurement) -> None:
    """Check that everything a workload runs was measured.

    Raises
    ------
    LookupError
        If a pass was not measured at the workload's sizes.
    """
    for run in plan.runs:
        for shape in points(run):
            measurement.find(shape)


@dataclass(frozen=True)
class StageRow:
    """A stage, in ms.

    Attributes
    ----------
    predicted_ms
        The estimate, from the profile alone.
    achieved_ms
        Device time under the achieved ceilings.
    host_ms
        Dispatched operators × the host's cost of one.
    binding
        The ceiling that binds most of the prediction.
    """

    stage: str
    measured_ms: float
    predicted_ms: float
    achieved_ms: float
    host_ms: float
    dispatches: int
    binding: str

    @property
    def ratio(self) -> float:
        return self.predicted_ms / self.measured_ms

    @property
    def explained_ms(self) -> float:
        return max(self.achieved_ms, self.host_ms)

    @property
    def explanation(self) -> str:
        """Say what the time is made of, or that it is not explained."""
        host_bound = self.host_ms > self.achieved_ms
        cause = (
            f"the host: {self.dispatches:,} operators are launched one by one"
            if host_bound
            else f"{self.binding} at their achieved ceiling"
        )
        gap = self.measured_ms - self.explained_ms
        if abs(gap) <= CLOSE * self.measured_ms:
            return f"Bound by {cause}."
        if gap < 0:
            return (
                f"Faster than {cause} would allow by {-gap:.3g} ms: bytes counted as DRAM traffic "
                "were served by a cache, or work overlaps that is added up here."
            )
        return (
            f"Bound by {cause}, as far as it is explained; {gap:.3g} ms of the device's and the "
            "host's time have no explanation in the model."
        )


@dataclass(frozen=True)
class ModuleRow:
    """A module over all its calls in the workload, children included, in ms."""

    module_id: str
    node: Node
    measured_ms: float
    predicted_ms: float

    @property
    def ratio(self) -> float:
        return self.predicted_ms / self.measured_ms


@dataclass(frozen=True)
class Comparison:
    """A workload's prediction and measurement.

    Attributes
    ----------
    estimates_ms
        The estimate of each stage.
    nodes, achieved_nodes
        The layer tree under the profile's peaks, and under the achieved ceilings.
    """

    measurement: Measurement
    plan: Plan
    estimates_ms: Mapping[str, float]
    nodes: Mapping[str, Node]
    achieved_nodes: Mapping[str, Node]

    @cached_property
    def stages(self) -> tuple[StageRow, ...]:
        return tuple(self._stage(s) for s in STAGES if any(r.stage == s for r in self.plan.runs))

    @cached_property
    def modules(self) -> tuple[ModuleRow, ...]:
        """Every measured module, the costliest first."""
        measured: dict[str, float] = {}
        for run in self.plan.runs:
            for module in self.measurement.find(middle(run)).modules:
                once = module.calls * module.timing.median_ms
                amount = run.calls * run.steps * once
                measured[module.module_id] = measured.get(module.module_id, 0.0) + amount
        rows = [
            ModuleRow(i, self.nodes[i], ms, self.nodes[i].total.time_ms)
            for i, ms in measured.items()
            if i in self.nodes
        ]
        return tuple(sorted(rows, key=lambda r: (-r.measured_ms, r.module_id)))

    @property
    def measured_ms(self) -> float:
        return sum(row.measured_ms for row in self.stages)

    @property
    def peak_memory_bytes(self) -> int | None:
        peaks = [p.peak_memory_bytes for p in self.measurement.passes if p.peak_memory_bytes]
        return max(peaks, default=None)

    def _stage(self, stage: str) -> StageRow:
        achieved = _stage_tally(self.achieved_nodes, stage)
        dispatches = self._over(stage, lambda p: p.dispatches)
        launches = 0.0 if self._replayed(stage) else dispatches
        return StageRow(
            stage=stage,
            measured_ms=self._over(stage, lambda p: p.timing.median_ms),
            predicted_ms=self.estimates_ms[stage],
            achieved_ms=achieved.time_ms,
            host_ms=launches * self.measurement.achieved.dispatch_us / 1000,
            dispatches=round(dispatches),
            binding=achieved.binding_ceiling,
        )

    def _replayed(self, stage: str) -> bool:
        """Tell whether a stage was replayed from a CUDA graph."""
        return stage == "decode" and self.measurement.mode == "cuda_graph"

    def _over(self, stage: str, what: Callable[[MeasuredPass], float]) -> float:
        """Return the sum over all calls and steps; a loop by the trapezoids of three steps."""
        total = 0.0
        for run in self.plan.runs:
            if run.stage == stage:
                first, mid, last = (what(self.measurement.find(s)) for s in points(run))
                total += run.calls * run.steps * (first + 2 * mid + last) / 4
        return total


def achieved_hardware(hardware: Hardware, measurement: Measurement) -> Hardware:
    """Return the profile with the rates that the device reached."""
    rates = Rates(
        tensor_tflops=measurement.achieved.matmul_tflops,
        bandwidth_gb_s=measurement.achieved.copy_gb_s,
        source=f"measured: {measurement.run_id}",
    )
    return hardware.model_copy(update={"achieved": rates})


def _stage_tally(nodes: Mapping[str, Node], stage: str) -> Tally:
    return merged(n.own for n in nodes.values() if n.stage == stage)
