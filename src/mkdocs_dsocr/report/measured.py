"""A measurement beside the prediction: the same passes, stages and modules, and the gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from mkdocs_dsocr.cost.memory import StageMemory
from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.timed import StageTime, Timed, stage_time
from mkdocs_dsocr.cost.totals import Node, Totals
from mkdocs_dsocr.cost.workload import WorkloadCost, workload_cost
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.inputs.hardware import Host, Rates
from mkdocs_dsocr.inputs.measurement import MeasuredPass, Measurement
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report.measurement_plan import middle, points
from mkdocs_dsocr.trace import PassShape

CLOSE = 0.2
"""A gap up to this share of the measured time counts as explained."""
CLOSE_TO_BUSY = 0.8
"""A device that works for less of the time waits for the host."""


@dataclass(frozen=True)
class PassRow:
    """One run of a pass.

    Attributes
    ----------
    expected
        What it should take: every operator that is launched, under the ceilings that the device
        achieved, and at the host's measured costs.
    memory
        What it should have in memory; None where it is not a run's last step.
    """

    measured: MeasuredPass
    expected: StageTime
    memory: StageMemory | None

    @property
    def shape(self) -> PassShape:
        return self.measured.pass_shape

    @property
    def device_ms(self) -> float | None:
        """The kernels' own time, where it was recorded."""
        work = self.measured.device_work
        return work.time_ms if work else None

    @property
    def memory_bytes(self) -> int | None:
        """What this pass alone should have in memory."""
        memory = self.memory
        return int(memory.total - memory.waiting) if memory else None


@dataclass(frozen=True)
class StageRow:
    """A stage, in ms.

    Attributes
    ----------
    estimated_ms, estimated_device_ms, floor_ms
        The estimate, its device time, and the floor, from the profile alone.
    expected_device_ms, expected_host_ms
        The operators that are launched under the achieved ceilings, and their launches and
        waits at the host's measured costs.
    device_ms
        The kernels' own measured time, where it was recorded.
    dispatches
        Operators that were launched.
    ceiling
        What should bind most of the device's time.
    """

    stage: str
    measured_ms: float
    estimated_ms: float
    estimated_device_ms: float
    floor_ms: float
    expected_device_ms: float
    expected_host_ms: float
    device_ms: float | None
    dispatches: int
    ceiling: str

    @property
    def ratio(self) -> float:
        return self.estimated_ms / self.measured_ms

    @property
    def expected_ms(self) -> float:
        return max(self.expected_device_ms, self.expected_host_ms)

    @property
    def explanation(self) -> str:
        """What binds the stage, and how much of its time is not explained."""
        if self.measured_ms < self.floor_ms:
            return "Faster than the minimum time: a formula or the GPU profile is wrong."
        return f"{self._cause()}{self._host()}{self._device()}"

    def _cause(self) -> str:
        host_bound = self.expected_host_ms > self.expected_device_ms
        cause = (
            f"the CPU, which launches {self.dispatches:,} operators"
            if host_bound
            else f"{self.ceiling} at their achieved rate"
        )
        gap = self.measured_ms - self.expected_ms
        if abs(gap) <= CLOSE * self.measured_ms:
            return f"Bound by {cause}."
        if gap < 0:
            return (
                f"Bound by {cause}, but {_ms(-gap)} faster than predicted: caches serve part of "
                "the DRAM traffic, or kernels overlap."
            )
        return f"Bound by {cause}; the model does not explain {_ms(gap)} of the measured time."

    @property
    def launch_us(self) -> float | None:
        """The wall time per operator where the GPU waits for the CPU, else None."""
        if self.device_ms is None or self.device_ms > CLOSE_TO_BUSY * self.measured_ms:
            return None
        return 1e3 * self.measured_ms / self.dispatches

    def _host(self) -> str:
        """Return what an operator costs the CPU, if the GPU waits for it."""
        if self.launch_us is None:
            return ""
        alone = 1e3 * self.expected_host_ms / self.dispatches
        return (
            f" The CPU takes {self.launch_us:.3g} µs per operator, modules included; a loop of one "
            f"operator takes {alone:.3g} µs."
        )

    def _device(self) -> str:
        """Return how long the GPU is busy, and the ratio of its time to the predicted one."""
        if self.device_ms is None:
            return ""
        share, factor = self.device_ms / self.measured_ms, self.device_ms / self.expected_device_ms
        return (
            f" The GPU is busy for {100 * share:.0f} % of the time; its kernels take {factor:.2f} "
            "times the predicted time."
        )


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


@dataclass(frozen=True)
class ModuleRow:
    """A module over all its calls in the workload, children included, in ms."""

    module_id: str
    node: Node
    measured_ms: float
    estimate: StageTime
    expected: StageTime

    @property
    def ratio(self) -> float:
        return self.estimate.time_ms / self.measured_ms


@dataclass(frozen=True)
class Comparison:
    """A workload's prediction and measurement.

    Parameters
    ----------
    measurement
        What was measured.
    cost, hardware
        The workload, and the GPU by its profile.
    nodes, stage_times
        The prediction of each module and stage.
    """

    measurement: Measurement
    cost: WorkloadCost
    hardware: Hardware
    nodes: Mapping[str, Node]
    stage_times: Mapping[str, StageTime]

    @cached_property
    def passes(self) -> tuple[PassRow, ...]:
        """Every pass that belongs to the workload, in the order of its runs."""
        memories: dict[PassShape, StageMemory] = {}
        for run, memory in zip(self.cost.plan.called, self.cost.run_memories, strict=True):
            memories[run.last] = memory
        shapes = dict.fromkeys(s for run in self.cost.plan.called for s in points(run))
        return tuple(self._pass(shape, memories.get(shape)) for shape in shapes)

    @cached_property
    def stages(self) -> tuple[StageRow, ...]:
        present = {run.stage for run in self.cost.plan.called}
        return tuple(self._stage(stage) for stage in STAGES if stage in present)

    @cached_property
    def modules(self) -> tuple[ModuleRow, ...]:
        """Every measured module, the costliest first."""
        measured: dict[str, float] = {}
        for run in self.cost.plan.called:
            for module in self.measurement.find(middle(run)).modules:
                once = module.calls * module.timing.median_ms
                amount = run.calls * run.steps * once
                measured[module.module_id] = measured.get(module.module_id, 0.0) + amount
        expected = self._launched_on.nodes
        rows = [
            ModuleRow(
                i,
                self.nodes[i],
                ms,
                estimate=_time_of(self.nodes[i].total, ms_per(self.hardware)),
                expected=_time_of(expected[i].total, self._achieved),
            )
            for i, ms in measured.items()
            if i in self.nodes
        ]
        return tuple(sorted(rows, key=lambda r: (-r.measured_ms, r.module_id)))

    @property
    def measured_ms(self) -> float:
        return sum(row.measured_ms for row in self.stages)

    @property
    def ratio(self) -> float:
        """The estimate divided by the measured time."""
        return sum(row.estimated_ms for row in self.stages) / self.measured_ms

    @property
    def launch_us(self) -> float | None:
        """What an operator of decode costs the CPU where the GPU waits for it, else None."""
        decode = next((row for row in self.stages if row.stage == "decode"), None)
        is_eager = decode is not None and self.measurement.mode == "eager"
        return decode.launch_us if decode is not None and is_eager else None

    @property
    def device_ratio(self) -> float | None:
        """The same of the kernels alone, where their times were recorded."""
        recorded = [row.device_ms for row in self.stages if row.device_ms]
        if len(recorded) < len(self.stages):
            return None
        return sum(row.estimated_device_ms for row in self.stages) / sum(recorded)

    @property
    def peak_memory_bytes(self) -> int | None:
        peaks = [p.peak_memory_bytes for p in self.measurement.passes if p.peak_memory_bytes]
        return max(peaks, default=None)

    @cached_property
    def _launched_on(self) -> Timed:
        return self._launched.on(self._achieved_hardware)

    @property
    def _achieved(self) -> MsPer:
        return ms_per(self._achieved_hardware)

    @cached_property
    def _achieved_hardware(self) -> Hardware:
        """The profile with the rates and costs that were measured."""
        found, source = self.measurement.achieved, f"measured: {self.measurement.run_id}"
        rates = Rates(
            tensor_tflops=found.matmul_tflops, bandwidth_gb_s=found.copy_gb_s, source=source
        )
        host = Host(
            dispatch_us=found.dispatch_us, synchronise_us=found.synchronise_us, source=source
        )
        return self.hardware.model_copy(update={"achieved": rates, "host": host})

    @cached_property
    def _launched(self) -> WorkloadCost:
        """The workload as it was measured: nothing is fused."""
        workload = self.cost.workload.model_copy(update={"traffic": "eager"})
        return workload_cost(self.cost.config, workload, self.cost.source)

    def _pass(self, shape: PassShape, memory: StageMemory | None) -> PassRow:
        replayed = shape.pass_id == "decode" and self.measurement.mode == "cuda_graph"
        expected = self._launched.pass_cost(shape).on(self._achieved, int(replayed))
        return PassRow(self.measurement.find(shape), expected, memory)

    def _stage(self, stage: str) -> StageRow:
        rows = {row.shape: row for row in self.passes}
        runs = [run for run in self.cost.plan.called if run.stage == stage]

        def over(what: Callable[[PassRow], float]) -> float:
            """Return the sum over all calls and steps; a loop by the trapezoids of three steps."""
            total = 0.0
            for run in runs:
                first, mid, last = (what(rows[shape]) for shape in points(run))
                total += run.calls * run.steps * (first + 2 * mid + last) / 4
            return total

        recorded = all(rows[s].device_ms is not None for run in runs for s in points(run))
        return StageRow(
            stage=stage,
            measured_ms=over(lambda row: row.measured.timing.median_ms),
            estimated_ms=self.stage_times[stage].time_ms,
            estimated_device_ms=self.stage_times[stage].device_ms,
            floor_ms=self.stage_times[stage].floor_ms,
            expected_device_ms=over(lambda row: row.expected.device_ms),
            expected_host_ms=over(lambda row: row.expected.host_ms),
            device_ms=over(lambda row: row.device_ms or 0.0) if recorded else None,
            dispatches=round(over(lambda row: row.measured.dispatches)),
            ceiling=self._launched_on.totals[stage].binding_ceiling,
        )


def _time_of(totals: Totals, per: MsPer) -> StageTime:
    return stage_time(totals.counts, totals.device_by_ceiling, totals.causal_ms, per)
