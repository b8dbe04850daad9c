"""Times of whole processes, taken in turns in one run, and what they are to each other.

Ratios count: seconds, above all those of the wall clock, grow with what else the machine does.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"


class Seconds(NamedTuple):
    """How long a command took: on the clock, and on all cores together."""

    wall: float
    cpu: float


def seconds(
    command: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Seconds:
    """Return how long a command took, the processes that it started and waited for included."""
    start, before = time.perf_counter(), _cpu()
    subprocess.run(command, check=True, capture_output=True, cwd=cwd, env=environment(env))
    return Seconds(time.perf_counter() - start, _cpu() - before)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process that is timed: it keeps the bytecode that it compiles."""
    found = {**os.environ, **(more or {})}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def chromium() -> str | None:
    """Return the system's Chromium, None where Playwright is to use its own."""
    names = ("chromium", "google-chrome", "chromium-headless-shell")
    return next(filter(None, map(shutil.which, names)), None)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(name: str, tasks: Mapping[str, Callable[[], Seconds]], runs: int, whole: str) -> None:
    """Run tasks in turns; print and keep medians and their ratios to that of `whole`."""
    for task in tasks.values():
        task()  # fills file caches, and compiles bytecode as pip does where it installs
    taken: dict[str, list[Seconds]] = {label: [] for label in tasks}
    for _ in range(runs):
        for label, task in tasks.items():
            taken[label].append(task())
    medians = {
        kind: {t: statistics.median(getattr(s, kind) for s in found) for t, found in taken.items()}
        for kind in Seconds._fields
    }
    wall, cpu = medians["wall"], medians["cpu"]
    ratios = {kind: _ratios(found, whole) for kind, found in medians.items()}
    print(f"{'':36} {'median s':>9} {'CPU s':>9} {'CPU of ' + whole:>16}")
    for label in tasks:
        print(f"{label:36} {wall[label]:9.3f} {cpu[label]:9.3f} {ratios['cpu'][label]:16.2f}")
    RESULTS.mkdir(exist_ok=True)
    to = f"ratio_to_{whole.replace(' ', '_')}"
    content = {
        "runs": runs,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "bytecode": "compiled",
        "median_seconds": {k: round(v, 4) for k, v in wall.items()},
        to: ratios["wall"],
        "median_cpu_seconds": {k: round(v, 4) for k, v in cpu.items()},
        f"cpu_{to}": ratios["cpu"],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _ratios(found: Mapping[str, float], whole: str) -> dict[str, float]:
    return {label: round(value / found[whole], 3) for label, value in found.items()}
