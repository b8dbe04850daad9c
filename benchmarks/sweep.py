"""How many whole-model scenarios a second a sweep evaluates: in one process, and in two at once.

    python -m benchmarks.sweep

Each scenario is vision, projector, prefill and decode over all steps: counts,
memory, and the times of every stage; the columns stay in the process that made
them. Prints a table and writes ``benchmarks/results/sweep.json``.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

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
    """Return the median of scenarios a second, formulas compiled already."""
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
        print(f"{name:32} {speed:12,.0f} scenarios a second")
    print(f"{'peak memory of a process':32} {peak:12.2f} GB")
    report = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "scenarios_per_second": {k: round(v) for k, v in found.items()},
        "peak_memory_gb": round(peak, 2),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
