"""Files for Perfetto and Model Explorer: what they show adds up to the report."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import Hardware, load_hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.files import viewer_files

HOST, DEVICE = 1, 2
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("deepseek-ocr-v1-base", "dsocr-tiny", {}),
    ("deepseek-ocr-v1-base", "dsocr-tiny", {"batch_size": 8, "num_pages": 8}),
    ("deepseek-ocr-v1-base", "dsocr-tiny", {"host_mode": "cuda_graph"}),
    ("deepseek-ocr-v1-base", "dsocr-tiny", {"traffic": "eager", "precision_mode": "autocast"}),
    ("unlimited-ocr", "dsocr-tiny", {"batch_size": 3, "num_pages": 3}),
]


def analysis(model: str, workload: str, changes: dict[str, Any]) -> Analysis:
    hardware: Hardware = load_hardware("h100-sxm")
    found = load_workload(workload).model_copy(update=changes)
    return Analysis(load_model_config(model), found, hardware)


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[2]) or 'plain'}"
)
def one(request: pytest.FixtureRequest) -> Analysis:
    return analysis(*request.param)


@lru_cache(maxsize=2)
def step(one: Analysis) -> Any:
    return json.loads(viewer_files(one)["decode-step.trace.json"])


def slices(one: Analysis, lane: int) -> list[dict[str, Any]]:
    return [e for e in step(one)["traceEvents"] if e["ph"] == "X" and e["tid"] == lane]


def test_slices_of_a_lane_add_up_to_the_estimate(one: Analysis) -> None:
    said = step(one)["otherData"]
    assert said["predicted_time_ms"] == one.latency.tpot_middle_ms
    for lane, name in ((HOST, "host_time_ms"), (DEVICE, "device_time_ms")):
        leaves = [e for e in slices(one, lane) if "class" not in e["args"]]
        # A slice begins and ends at a whole nanosecond; expected launches are rounded to one.
        rounding = 1e-6 * len(leaves)
        if one.plan.batch > 1 and lane == HOST:
            rounding += 0.02 * said[name]
        assert sum(e["dur"] for e in leaves) / 1000 == pytest.approx(said[name], abs=rounding)


def test_a_lane_runs_one_thing_at_a_time_and_no_kernel_before_its_launch(one: Analysis) -> None:
    for lane in (HOST, DEVICE):
        leaves = [e for e in slices(one, lane) if "class" not in e["args"]]
        for before, after in itertools.pairwise(leaves):
            assert before["ts"] + before["dur"] <= after["ts"] + 1e-6
    first_launch = slices(one, HOST)[0]
    assert slices(one, DEVICE)[0]["ts"] >= first_launch["ts"] + first_launch["dur"] - 1e-6


def test_slices_nest(one: Analysis) -> None:
    """A slice that starts within another one ends within it: Perfetto drops it otherwise."""
    for lane in (HOST, DEVICE):
        spans = sorted((round(1000 * e["ts"]), -round(1000 * e["dur"])) for e in slices(one, lane))
        open_ends: list[int] = []
        for start, negative in spans:
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert not open_ends or start - negative <= open_ends[-1]
            open_ends.append(start - negative)


def test_every_module_of_a_decode_step_has_its_slices() -> None:
    one = analysis(*CASES[0])
    names = {e["name"] for e in slices(one, DEVICE)}
    assert {f"model.layers.{i}.self_attn.q_proj" for i in range(12)} <= names
    assert "model.layers.11.mlp.experts.[0-63].gate_proj" in names


def test_no_decode_step_no_file() -> None:
    one = analysis("deepseek-ocr-v1-base", "dsocr-tiny", {"max_new_tokens": 1})
    assert set(viewer_files(one)) == {"model-explorer.json", "model-explorer-times.json"}


def test_nodes_of_the_graph_add_up_to_the_report(one: Analysis) -> None:
    files = viewer_files(one)
    (graph,), times = (json.loads(files[f"model-explorer{s}.json"]) for s in ("", "-times"))
    (data,) = times.values()
    assert list(times) == [graph["id"]] == [one.report_id]
    ids = [node["id"] for node in graph["nodes"]]
    assert len(set(ids)) == len(ids) > 100
    results = data["results"]
    assert sum(results[i]["value"] for i in ids) == pytest.approx(one.predicted_ms)
    # A group is no node as well: the viewer would show one of the two alone.
    assert {e["sourceNodeId"] for node in graph["nodes"] for e in node["incomingEdges"]} < set(ids)
    stages = {node["namespace"].partition("/")[0] for node in graph["nodes"]}
    assert {"vision", "prefill", "decode"} <= stages


def test_the_command_writes_them_on_request(tmp_path: Path) -> None:
    flags = ["analyze", "--workload", "dsocr-tiny", "--output", str(tmp_path)]
    assert CliRunner().invoke(main, flags).exit_code == 0
    assert not list(tmp_path.glob("*trace*"))
    assert CliRunner().invoke(main, [*flags, "--viewers"]).exit_code == 0
    assert json.loads((tmp_path / "decode-step.trace.json").read_text())["traceEvents"]
