"""Times of whole processes, taken in turns in one run, and what they are to each other."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def seconds(
    command: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> float:
    """Return how long a command took."""
    environment = {**os.environ, **(env or {})}
    # Compiled once, as pip leaves what it installs.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=cwd, env=environment)
    return time.perf_counter() - start


def report(name: str, tasks: Mapping[str, Callable[[], float]], runs: int, whole: str) -> None:
    """Run tasks in turns; print and keep medians and their ratios to that of `whole`."""
    for task in tasks.values():
        task()  # fills file caches
    taken: dict[str, list[float]] = {label: [] for label in tasks}
    for _ in range(runs):
        for label, task in tasks.items():
            taken[label].append(task())
    medians = {label: statistics.median(times) for label, times in taken.items()}
    ratios = {label: median / medians[whole] for label, median in medians.items()}
    print(f"{'':28} {'median s':>9} {'of ' + whole:>16}")
    for label, median in medians.items():
        print(f"{label:28} {median:9.3f} {ratios[label]:16.2f}")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "runs": runs,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "median_seconds": {k: round(v, 4) for k, v in medians.items()},
        f"ratio_to_{whole.replace(' ', '_')}": {k: round(v, 3) for k, v in ratios.items()},
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
