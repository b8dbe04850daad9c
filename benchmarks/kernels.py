"""Kernel times and launch costs of a GPU: python -m benchmarks.kernels FILE [FAMILY …].

Times two things per case. ``kernels`` are the kernels' own times as the profiler records them,
without the gaps between launches. ``loop_us`` is the time of one call in a loop of calls that are
launched back to back, gaps included. Operands rotate, so that none is in the L2 cache from the
call before, unless all of them together are small.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.kernel_cases import Case, cases

ROTATED_BYTES: Final = 200 * 10**6
"""Operand sets of a case cover this many bytes: several times an L2 cache."""
MOST_SETS: Final = 40
CALLS: Final = 20
"""Recorded calls of each case."""
AT_ONCE: Final = 16
"""Cases in one recording."""


def kernel_table(device: str, chosen: Iterable[Case] | None = None) -> Iterator[dict[str, Any]]:
    """Yield a record for each case."""
    remaining = iter(cases() if chosen is None else chosen)
    while several := list(islice(remaining, AT_ONCE)):
        made = [(case, calls) for case in several if (calls := _calls(case, device))]
        recorded = _record([calls for _, calls in made], device)
        for (case, calls), kernels in zip(made, recorded, strict=True):
            record = {f.name: getattr(case, f.name) for f in dataclasses.fields(case)[:-1]}
            yield record | {"kernels": kernels, "loop_us": _loop_us(calls, device)}


def _calls(case: Case, device: str) -> list[Callable[[], object]]:
    """Return calls of a case on operands of their own, each called once already.

    None where this build of torch cannot run it.
    """
    sets = min(MOST_SETS, 1 + ROTATED_BYTES // max(case.num_bytes, 1)) if device == "cuda" else 1
    calls = [case.make(device) for _ in range(sets)]
    try:
        for call in calls:
            call()
    except RuntimeError as error:
        print(f"left out: {case.name} {case.sizes}: {error}", file=sys.stderr)
        return []
    return calls


def _record(
    every: Sequence[Sequence[Callable[[], object]]], device: str
) -> list[list[dict[str, Any]]]:
    """Return the kernels of each case: name, launches and times of one launch in µs."""
    if device != "cuda":
        return [[] for _ in every]
    torch.cuda.synchronize()

    def run() -> None:
        for calls in every:
            torch.cuda._sleep(1000)  # type: ignore[no-untyped-call]  # marks where a case begins
            for index in range(CALLS):
                calls[index % len(calls)]()

    found: list[list[tuple[str, float]]] = []
    for name, time_us in device_events(run):
        if "spin_kernel" in name:
            found.append([])
        else:
            found[-1].append((name, time_us))
    return [summaries(events) for events in found]


def device_events(run: Callable[[], object]) -> list[tuple[str, float]]:
    """Return name and time in µs of everything that `run` puts on the GPU, in order."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize()
    events = [e for e in recorded.events() if e.device_type == DeviceType.CUDA]
    events.sort(key=lambda e: e.time_range.start)
    return [(e.name, e.self_device_time_total) for e in events]


def summaries(events: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    """Return the launches of each kernel in numbers, those that took longest first."""
    times: dict[str, list[float]] = {}
    for name, time_us in events:
        times.setdefault(name, []).append(time_us)
    rows = [
        {
            "kernel": name,
            "launches": len(several),
            "total_us": round(sum(several), 3),
            "median_us": round(statistics.median(several), 3),
            "min_us": round(min(several), 3),
            "max_us": round(max(several), 3),
        }
        for name, several in times.items()
    ]
    return sorted(rows, key=lambda row: -row["total_us"])


def _loop_us(calls: Sequence[Callable[[], object]], device: str, rounds: int = 60) -> float:
    """Return the time of one call, in a loop that keeps the device busy."""

    def loop() -> None:
        for index in range(rounds):
            calls[index % len(calls)]()

    return round(1000 * elapsed_ms(loop, device) / rounds, 3)


def elapsed_ms(call: Callable[[], object], device: str) -> float:
    """Return the time of a call in ms: between two events on a GPU."""
    if device != "cuda":
        begin = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - begin)
    start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def launch_costs(device: str, number: int = 2000) -> dict[str, float]:
    """Return the host's time per operator and per wait in µs, and gaps between kernels."""
    one, row = torch.zeros(1, device=device), torch.randn(1, 1280, device=device)
    row16, weight = row.bfloat16(), torch.randn(1280, 1280, device=device).bfloat16()
    layer = torch.nn.Linear(1280, 1280, bias=False, device=device, dtype=torch.bfloat16)
    cache = torch.zeros(1, 10, 64, 128, device=device, dtype=torch.bfloat16)
    new = cache[:, :, :1]
    operators: dict[str, Callable[[], object]] = {
        "add_": lambda: one.add_(1),
        "multiply": lambda: row * row,
        "cast": row.bfloat16,
        "mean": lambda: row.mean(-1, keepdim=True),
        "cat": lambda: torch.cat((cache, new), dim=2),
        "F.linear": lambda: torch.nn.functional.linear(row16, weight),
        "nn.Linear": lambda: layer(row16),
        "wait (tolist)": one.tolist,
    }
    costs = {}
    with torch.inference_mode():
        for name, call in operators.items():
            costs[name] = round(_host_us(call, device, number), 3)
    if device == "cuda":
        costs |= _graph_gaps(one, number)
    return costs


def _host_us(call: Callable[[], object], device: str, number: int) -> float:
    """Return the host's time of one of many calls."""

    def many() -> None:
        for _ in range(number):
            call()
        if device == "cuda":
            torch.cuda.synchronize()

    many()
    begin = time.perf_counter()
    many()
    return 1e6 * (time.perf_counter() - begin) / number


def _graph_gaps(one: torch.Tensor, number: int) -> dict[str, float]:
    """Return what a kernel of one value takes in a replayed CUDA graph, its gap included."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(number):
            one.add_(1)
    graph.replay()
    taken = min(elapsed_ms(graph.replay, "cuda") for _ in range(5))
    return {"kernel in a CUDA graph": round(1000 * taken / number, 3)}


def main(path: Path, families: Sequence[str] = (), device: str = "cuda") -> None:
    """Write launch costs and cases to a file: all of them, or those of some families."""
    chosen = [case for case in cases() if not families or case.family in families]
    content = {"launch_costs_us": launch_costs(device), "cases": list(kernel_table(device, chosen))}
    path.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
