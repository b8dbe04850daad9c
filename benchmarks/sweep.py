"""How many whole-model scenarios per second a sweep evaluates: in one process, and in two at once.

    python -m benchmarks.sweep

Each scenario is vision, projector, prefill and decode over all steps: counts,
memory, and the times of every stage; the columns stay in the process that made
them. *Per core* are scenarios for a second of CPU time, whatever else the machine does; the profile
says in which functions that time is. Prints a table and writes ``benchmarks/results/sweep.json``.
"""

from __future__ import annotations

import cProfile
import json
import os
import platform
import pstats
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mkdocs_dsocr import sweep
from mkdocs_dsocr.inputs import shipped

RESULTS = Path(__file__).parent / "results" / "sweep.json"


def grid(batches: int) -> int:
    """Workload × hardware × dtype, piece by piece."""
    pieces = sweep.grid_chunks(
        hardware=shipped("hardware"),
        batch_size=np.arange(1, batches + 1),
        max_new_tokens=np.arange(16, 176),
        weight_dtype=["bf16", "fp8"],
    )
    return sum(piece.rows for piece in pieces)


def rows(count: int) -> int:
    """Independent rows in every dimension that is a number, formats and the GPU."""
    draw = np.random.default_rng(1)
    sizes = np.array([512, 640, 768, 1024, 1280])
    return sweep.rows(
        base_size=draw.choice(sizes, count),
        image_size=draw.choice(sizes, count),
        crop_mode=draw.random(count) < 0.7,
        tiles_w=draw.integers(1, 6, count),
        tiles_h=draw.integers(1, 6, count),
        text_tokens=draw.integers(0, 500, count),
        max_new_tokens=draw.integers(1, 4000, count),
        batch_size=draw.integers(1, 64, count),
        num_pages=draw.integers(1, 256, count),
        weight_dtype=draw.choice(["bf16", "fp8", "int8", "int4"], count),
        kv_dtype=draw.choice(["bf16", "fp8"], count),
        bandwidth_gb_s=draw.uniform(500, 4000, count),
        hardware=draw.choice(shipped("hardware"), count),
    ).rows


def rates(pool: ProcessPoolExecutor, processes: int, runs: int = 5) -> dict[str, float]:
    """Return the median of scenarios per second, formulas compiled already."""
    result = {}
    for name, task, little, amount in (
        ("grid", grid, 2, 200),
        ("independent rows", rows, 2000, 200_000),
    ):
        list(pool.map(task, [little] * 4))
        found = []
        for _ in range(runs):
            start = time.perf_counter()
            count = sum(pool.map(task, [amount] * processes))
            found.append(count / (time.perf_counter() - start))
        result[f"{name}, {processes} process{'es' if processes > 1 else ''}"] = statistics.median(
            found
        )
    return result


def per_core(task: Any, little: int, amount: int) -> float:
    """Return scenarios for a second of CPU time in this process, formulas compiled already."""
    task(little)
    start = time.process_time()
    return task(amount) / (time.process_time() - start)  # type: ignore[no-any-return]


def profile(task: Any, amount: int) -> dict[str, float]:
    """Return the functions that take most of the time of a task, each with its share."""
    profiler = cProfile.Profile()
    profiler.runcall(task, amount)
    found: Any = pstats.Stats(profiler)
    own = {f"{Path(file).name}:{name}": row[2] for (file, _, name), row in found.stats.items()}
    most = sorted(own.items(), key=lambda item: -item[1])[:8]
    return {name: round(seconds / found.total_tt, 3) for name, seconds in most}


def peak_gb(_: int = 0) -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    found: dict[str, float] = {}
    for processes in (1, 2):
        with ProcessPoolExecutor(processes) as pool:
            found |= rates(pool, processes)
            peak = max(pool.map(peak_gb, range(processes)))
    for name, speed in found.items():
        print(f"{name:32} {speed:12,.0f} scenarios per second")
    print(f"{'peak memory of a process':32} {peak:12.2f} GB")
    tasks = {"grid": (grid, 2, 50), "independent rows": (rows, 2000, 100_000)}
    report = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "bytecode": "compiled",
        "scenarios_per_second": {k: round(v) for k, v in found.items()},
        "scenarios_per_core_second": {k: round(per_core(*task)) for k, task in tasks.items()},
        "share_of_time": {k: profile(task, amount) for k, (task, _, amount) in tasks.items()},
        "peak_memory_gb": round(peak, 2),
    }
    for name, speed in report["scenarios_per_core_second"].items():  # type: ignore[attr-defined]
        print(f"{name + ', per core':32} {speed:12,.0f} scenarios a CPU second")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
