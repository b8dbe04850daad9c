"""How long ``dsocr analyze`` takes beside ``import torch``, as whole processes in one run.

    python benchmarks/analyze.py [runs]

Prints a table and writes ``benchmarks/results/analyze.json``.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "analyze.json"


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(runs: int = 7) -> None:
    with tempfile.TemporaryDirectory() as folder:
        python = sys.executable
        commands = {
            "bare Python": [python, "-c", "pass"],
            "import mkdocs_dsocr.layers": [python, "-c", "import mkdocs_dsocr.layers"],
            "dsocr --help": [python, "-m", "mkdocs_dsocr.cli", "--help"],
            "dsocr analyze": [python, "-m", "mkdocs_dsocr.cli", "analyze", "--output", folder],
            "import torch": [python, "-c", "import torch"],
        }
        for command in commands.values():
            seconds(command)  # fills the file cache
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                taken[name].append(seconds(command))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    whole = medians["import torch"]
    print(f"{'':28} {'median s':>9} {'of import torch':>16}")
    for name, median in medians.items():
        print(f"{name:28} {median:9.3f} {median / whole:16.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    report = {
        "runs": runs,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "median_seconds": {k: round(v, 4) for k, v in medians.items()},
        "ratio_to_import_torch": {k: round(v / whole, 3) for k, v in medians.items()},
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
