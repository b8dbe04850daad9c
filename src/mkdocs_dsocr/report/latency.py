"""Estimate and floor of stages, and what a user waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.models import Plan, Run, pass_layer
from mkdocs_dsocr.report.measured import middle
from mkdocs_dsocr.report.schema import Latency
from mkdocs_dsocr.report.tally import Tally
from mkdocs_dsocr.report.timing import kernel_times_ms
from mkdocs_dsocr.trace import PassShape

MS_A_DAY = 86_400_000


@dataclass(frozen=True)
class StageTime:
    """Times of a stage or a pass, in ms.

    Attributes
    ----------
    device_ms
        The sum of its kernels, each under the ceiling that binds it.
    host_ms
        Dispatched operators and synchronisations × what they cost the host.
    floor_ms
        Tensor FLOPs that cannot be left out over their peak, or compulsory
        bytes over the bandwidth: no implementation of the model is faster.
    ceiling
        What binds most of the device time.
    """

    device_ms: float
    host_ms: float
    floor_ms: float
    ceiling: str

    @property
    def time_ms(self) -> float:
        """The estimate: the host launches while the device works."""
        return max(self.device_ms, self.host_ms)

    @property
    def binding(self) -> str:
        return "host" if self.host_ms > self.device_ms else self.ceiling


def stage_time(work: Tally, hardware: Hardware, replays: int = 0) -> StageTime:
    """Return the times of a stage's work.

    Parameters
    ----------
    work
        What it comes to.
    hardware
        The GPU and its host.
    replays
        Where it is replayed from CUDA graphs: how many launches that takes.
    """
    host_ms = 0.0
    if hardware.host is not None:
        launches, waits = (replays, 0) if replays else (work.dispatches, work.synchronisations)
        host = hardware.host
        host_ms = (launches * host.dispatch_us + waits * host.synchronise_us) / 1000
    return StageTime(
        device_ms=work.time_ms,
        host_ms=host_ms,
        floor_ms=max(
            work.least_tensor_ms,
            work.least_bytes / (hardware.bandwidth_gb_s * 1e6),
        ),
        ceiling=work.binding_ceiling,
    )


def replays(plan: Plan, stage: str) -> int:
    """Return the CUDA graphs that a stage replays: one a decode step, where it does."""
    if stage != "decode" or plan.workload.host_mode != "cuda_graph":
        return 0
    return sum(run.calls * run.steps for run in plan.runs if run.stage == stage)


def latency(
    config: ModelConfig, plan: Plan, hardware: Hardware, stages: Mapping[str, StageTime]
) -> Latency:
    """Return what a user of the workload's first batch waits for, and the throughput."""
    workload: Workload = plan.workload
    batch = plan.batch
    first = {r.stage: r for r in reversed(plan.runs)}
    pages_ms = (stages["vision"].time_ms + stages["projector"].time_ms) / workload.pages
    steps = _steps(config, first.get("decode"), hardware, plan)
    total_ms = sum(s.time_ms for s in stages.values())
    return Latency(
        ttft_ms=batch * pages_ms + _pass_ms(config, plan, first["prefill"].first, hardware, 0),
        tpot_first_ms=steps[0],
        tpot_middle_ms=steps[1],
        tpot_last_ms=steps[2],
        tokens_per_s=1000 * batch / steps[1] if steps[1] else None,
        pages_per_s=1000 * workload.pages / total_ms if total_ms else 0.0,
        pages_per_day=MS_A_DAY * workload.pages / total_ms if total_ms else 0.0,
    )


def _steps(
    config: ModelConfig, decode: Run | None, hardware: Hardware, plan: Plan
) -> tuple[float | None, float | None, float | None]:
    """Return the times of the first, middle and last decode step."""
    if decode is None:
        return None, None, None
    graph = int(plan.workload.host_mode == "cuda_graph")
    first, mid, last = (
        _pass_ms(config, plan, shape, hardware, graph)
        for shape in (decode.first, middle(decode), decode.last)
    )
    return first, mid, last


def _pass_ms(
    config: ModelConfig, plan: Plan, shape: PassShape, hardware: Hardware, graph: int
) -> float:
    work = Tally()
    for visit in tree.walk(pass_layer(config, shape, plan.workload)):
        work.dispatches += visit.dispatches()  # type: ignore[assignment]
        work.synchronisations += visit.summed(metrics.synchronisations)  # type: ignore[assignment]
        for kernel in visit.layer.kernels():
            times = kernel_times_ms(kernel, hardware)
            longest = max(times)
            work.times_ms[times.index(longest)] += visit.modules * visit.calls * longest
    return stage_time(work, hardware, graph).time_ms
