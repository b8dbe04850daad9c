"""Estimate and floor of stages, and what a user waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.models import Plan
from mkdocs_dsocr.report import timing
from mkdocs_dsocr.report.demand import Demand
from mkdocs_dsocr.report.schema import Latency
from mkdocs_dsocr.report.tally import Tally

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
        No implementation of the model is faster.
    ceiling
        What binds most of the device time.
    """

    device_ms: float
    host_ms: float
    floor_ms: float
    ceiling: str

    @property
    def time_ms(self) -> float:
        """The estimate."""
        return float(timing.estimate_ms(self.device_ms, self.host_ms))

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
        dispatch_ms, wait_ms = host.dispatch_us / 1000, host.synchronise_us / 1000
        host_ms = timing.host_ms(launches, waits, dispatch_ms, wait_ms)
    return StageTime(
        device_ms=work.time_ms,
        host_ms=host_ms,
        floor_ms=timing.floor_ms(
            work.least_tensor_ms, work.least_bytes, hardware.bandwidth_gb_s * 1e6
        ),
        ceiling=work.binding_ceiling,
    )


def replays(plan: Plan, stage: str) -> int:
    """Return the CUDA graphs that a stage replays: one a decode step, where it does."""
    if stage != "decode" or plan.workload.host_mode != "cuda_graph":
        return 0
    return sum(run.calls * run.steps for run in plan.runs if run.stage == stage)


def step_times(demand: Demand, hardware: Hardware, *, host: bool = True) -> dict[str, float]:
    """Return the time of one prefill, and of the first, middle and last decode step, in ms.

    Parameters
    ----------
    demand, hardware
        What the workload asks, and the GPU.
    host
        Whether the host's launches count; otherwise it is the device's time alone.
    """
    graph = int(demand.workload.host_mode == "cuda_graph")
    times = {
        name: stage_time(work.on(hardware), hardware, graph if name != "prefill" else 0)
        for name, work in demand.steps.items()
    }
    return {name: t.time_ms if host else t.device_ms for name, t in times.items()}


def latency(demand: Demand, hardware: Hardware, stages: Mapping[str, StageTime]) -> Latency:
    """Return what a user of the workload's first batch waits for, and the throughput."""
    workload, batch = demand.workload, demand.plan.batch
    pages_ms = (stages["vision"].time_ms + stages["projector"].time_ms) / workload.pages
    step_ms = step_times(demand, hardware)
    total_ms = sum(s.time_ms for s in stages.values())
    middle_ms = step_ms.get("middle")
    return Latency(
        ttft_ms=batch * pages_ms + step_ms["prefill"],
        tpot_first_ms=step_ms.get("first"),
        tpot_middle_ms=middle_ms,
        tpot_last_ms=step_ms.get("last"),
        tokens_per_s=1000 * batch / middle_ms if middle_ms else None,
        pages_per_s=1000 * workload.pages / total_ms if total_ms else 0.0,
        pages_per_day=MS_A_DAY * workload.pages / total_ms if total_ms else 0.0,
    )
