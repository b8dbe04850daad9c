"""What a user waits for, and the throughput."""

from __future__ import annotations

from collections.abc import Mapping

from mkdocs_dsocr.cost.rates import ms_per
from mkdocs_dsocr.cost.timed import StageTime
from mkdocs_dsocr.cost.workload import WorkloadCost
from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.report.schema import Latency

MS_A_DAY = 86_400_000


def step_times(cost: WorkloadCost, hardware: Hardware, *, host: bool = True) -> dict[str, float]:
    """Return the time of one prefill, and of the first, middle and last decode step, in ms.

    Parameters
    ----------
    cost, hardware
        The workload and the GPU.
    host
        Whether the host's launches count; otherwise it is the device's time alone.
    """
    per, is_graph = ms_per(hardware), int(cost.workload.host_mode == "cuda_graph")
    times = {
        name: step.on(per, is_graph if name != "prefill" else 0)
        for name, step in cost.steps.items()
    }
    return {name: t.time_ms if host else t.device_ms for name, t in times.items()}


def latency(cost: WorkloadCost, hardware: Hardware, stages: Mapping[str, StageTime]) -> Latency:
    """Return what a user of the workload's first batch waits for, and the throughput.

    Vision and projector of a page take what they take on average: the last batch may be smaller.
    """
    workload, batch = cost.workload, cost.plan.batch
    prompt_ms = (stages["vision"].time_ms + stages["projector"].time_ms) / workload.prompts
    step_ms = step_times(cost, hardware)
    total_ms = sum(s.time_ms for s in stages.values())
    middle_ms = step_ms.get("middle")
    return Latency(
        ttft_ms=batch * prompt_ms + step_ms["prefill"],
        tpot_first_ms=step_ms.get("first"),
        tpot_middle_ms=middle_ms,
        tpot_last_ms=step_ms.get("last"),
        tokens_per_s=1000 * batch / middle_ms if middle_ms else None,
        pages_per_s=1000 * workload.pages / total_ms if total_ms else 0.0,
        pages_per_day=MS_A_DAY * workload.pages / total_ms if total_ms else 0.0,
    )
