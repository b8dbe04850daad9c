"""Traces that were made on real GPUs, compared with the formulas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TRACES = sorted((ROOT / "data/measurements").glob("*/*/trace.json.gz"))


@pytest.mark.parametrize("path", TRACES, ids=lambda p: "-".join(p.parts[-3:-1]))
def test_counts_on_a_gpu_equal_the_formulas(path: Path) -> None:
    """Also with random routing: each loop at the first and the last step that was traced."""
    command = [sys.executable, "-m", "tests.gpu_traces", str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["device"] == "cuda"
    assert found["workloads"] == sorted(found["asked"])
    assert found["failures"] == []


def test_there_are_traces_of_two_gpus() -> None:
    assert {p.parts[-3] for p in TRACES} == {"h100-sxm", "h200-sxm"}
