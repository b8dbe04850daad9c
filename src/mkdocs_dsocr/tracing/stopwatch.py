"""Times of calls on a device, and what the device reaches in the simplest cases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch

from mkdocs_dsocr.inputs.measurement import Achieved, Timing

WARM_UP: Final = 3
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


def timing(calls: Sequence[Callable[[], object]], device: str, repeats: int) -> Timing:
    """Time `calls` in turn, `repeats` times in all, each from an idle device."""
    for index in range(max(WARM_UP, len(calls))):
        calls[index % len(calls)]()
    times = sorted(_once(calls[index % len(calls)], device) for index in range(repeats))
    tenth = (len(times) - 1) // 10
    return Timing(
        median_ms=statistics.median(times),
        p10_ms=times[tenth],
        p90_ms=times[-1 - tenth],
        repeats=repeats,
    )


def _once(call: Callable[[], object], device: str) -> float:
    """Return the ms of one call: between two events on a GPU, by the clock elsewhere."""
    synchronise(device)
    if device == "cuda":
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


@torch.inference_mode()
def achieved(device: str, repeats: int = 20) -> Achieved:
    """Measure a large product, a large copy, and an operator that does next to nothing."""
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
        dispatch_us=_dispatch_us(one, device),
    )


def _dispatch_us(one: torch.Tensor, device: str) -> float:
    """Return the host's time to dispatch one operator, the device keeping up."""

    def many() -> None:
        for _ in range(DISPATCHES):
            one.add_(1)

    many()
    synchronise(device)
    begin = time.perf_counter()
    many()
    synchronise(device)
    return 1e6 * (time.perf_counter() - begin) / DISPATCHES
