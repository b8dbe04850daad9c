"""Time ``dsocr analyze`` and ``dsocr plan`` compared with ``import torch``, as whole processes.

    python -m benchmarks.analyze [runs]

Prints a table and writes ``benchmarks/results/analyze.json``.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial

from benchmarks.measure import report, seconds


def main(runs: int = 7) -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "bare Python": [python, "-c", "pass"],
            "import mkdocs_dsocr.layers": [python, "-c", "import mkdocs_dsocr.layers"],
            "dsocr --help": [python, "-m", "mkdocs_dsocr.cli", "--help"],
            "dsocr analyze": [python, "-m", "mkdocs_dsocr.cli", "analyze", "--output", folder],
            "dsocr plan": [python, "-m", "mkdocs_dsocr.cli", "plan", "--pages-per-day", "1000000"],
            "import torch": [python, "-c", "import torch"],
        }
        tasks = {name: partial(seconds, command) for name, command in commands.items()}
        report("analyze", tasks, runs, "import torch")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
