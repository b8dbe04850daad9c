"""Times of calls on a device, and what the device reaches in the simplest cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile, supported_activities

from mkdocs_dsocr.inputs.measurement import Achieved, DeviceWork, Timing

WARM_UP: Final = 3
FLUSHED_BYTES: Final = 256 * 10**6
"""Written before each timed call on a GPU: several times its last-level cache."""
MATMUL_SIDE: Final = {"cuda": 8192, "cpu": 256}
COPY_BYTES: Final = {"cuda": 2 * 10**9, "cpu": 10**8}
DISPATCHES: Final = 2000


def device_name(device: str) -> str:
    """Return the device as its driver names it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {torch.get_num_threads()} threads"


def synchronise(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def timing(
    calls: Sequence[Callable[[], object]], device: str, repeats: int, calls_per_run: int = 1
) -> Timing:
    """Time `calls` in turn, `repeats` times in all.

    Each starts on an idle device; nothing that it reads is in a GPU's cache.

    Parameters
    ----------
    calls, device, repeats
        What is timed, where, and how often.
    calls_per_run
        How many equal calls each of `calls` makes: the time is that of one.
    """
    for index in range(max(WARM_UP, len(calls))):
        calls[index % len(calls)]()
    times = sorted(
        _once(calls[index % len(calls)], device) / calls_per_run for index in range(repeats)
    )
    tenth = (len(times) - 1) // 10
    return Timing(
        median_ms=statistics.median(times),
        p10_ms=times[tenth],
        p90_ms=times[-1 - tenth],
        repeats=repeats,
    )


def _once(call: Callable[[], object], device: str) -> float:
    """Return the ms of one call: between two events on a GPU, by the clock elsewhere."""
    if device == "cuda":
        torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device).zero_()
        synchronise(device)
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def device_work(call: Callable[[], object], device: str) -> DeviceWork | None:
    """Return the kernels, copies and fills that a call puts on a GPU, and their own time.

    None where there is no GPU, or where nothing records what runs on it.
    """
    known = supported_activities()  # type: ignore[no-untyped-call]
    if device != "cuda" or ProfilerActivity.CUDA not in known:
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        call()
        synchronise(device)
    events = [e for e in recorded.events() if e.device_type == DeviceType.CUDA]
    if not events:
        return None
    return DeviceWork(
        kernels=len(events), time_ms=sum(e.self_device_time_total for e in events) / 1000
    )


@torch.inference_mode()
def achieved(device: str, repeats: int = 20) -> Achieved:
    """Measure a large product, a large copy, and what the host costs.

    The host's costs are those of an operator that does next to nothing, and of
    asking for a value when the device has nothing else to do.
    """
    side = MATMUL_SIDE[device]
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    product = timing([lambda: a @ b], device, repeats).median_ms
    source = torch.ones(COPY_BYTES[device] // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    copy = timing([lambda: target.copy_(source)], device, repeats).median_ms
    one = torch.zeros(1, device=device)
    return Achieved(
        matmul_tflops=2 * side**3 / (product * 1e9),
        copy_gb_s=2 * source.nbytes / (copy * 1e6),
        dispatch_us=_host_us(lambda: one.add_(1), device),
        synchronise_us=_host_us(one.tolist, device),
    )


def _host_us(call: Callable[[], object], device: str) -> float:
    """Return the host's time for one of many calls, the device keeping up."""

    def many() -> None:
        for _ in range(DISPATCHES):
            call()

    many()
    synchronise(device)
    begin = time.perf_counter()
    many()
    synchronise(device)
    return 1e6 * (time.perf_counter() - begin) / DISPATCHES
