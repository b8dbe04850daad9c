"""Traces that were made on real GPUs, compared with the formulas."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.trace import Trace
from mkdocs_dsocr.verify.formulas import verify
from tests.conftest import ROOT

TRACES = sorted((ROOT / "data/measurements").glob("*/*/trace.json.gz"))


@pytest.mark.parametrize("path", TRACES, ids=lambda p: "-".join(p.parts[-3:-1]))
def test_counts_on_a_gpu_equal_the_formulas(path: Path) -> None:
    """Also with random routing: each loop at the first and the last step that was traced."""
    trace = Trace.from_json(gzip.decompress(path.read_bytes()).decode())
    names = [p.stem for p in sorted((path.parent / "workloads").glob("dsocr-*.yaml"))]
    eager = [n for n in names if "graph" not in n and "64" not in n and "autocast" not in n]
    files = tuple(str(path.parent / f"workloads/{name}.yaml") for name in eager)
    rows = pipeline.analyse(pipeline.Settings(workloads=files))
    found = verify([row[0] for row in rows], trace)
    assert trace.device == "cuda"
    assert {row.workload for row in found.rows} == set(eager)
    assert found.failures == []


def test_there_are_traces_of_two_gpus() -> None:
    assert {p.parts[-3] for p in TRACES} == {"h100-sxm", "h200-sxm"}
