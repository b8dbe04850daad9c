"""The report: one rooted tree, sums that hold, a schema that validates, the same bytes again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import jsonschema
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cost.time import by_part, series_of_maximum
from mkdocs_dsocr.inputs import InputError, load_hardware, shipped
from mkdocs_dsocr.layers.kernels import fuse
from mkdocs_dsocr.layers.tree import walk
from mkdocs_dsocr.models import build
from mkdocs_dsocr.patterns import expand, indices
from mkdocs_dsocr.report import Analysis, report_files
from tests.conftest import WORKLOADS

INTEGERS = (
    "matmul_flops",
    "tensor_core_flops",
    "cuda_core_flops",
    "io_bytes",
    "weight_bytes",
    "activation_bytes",
    "kvcache_bytes",
)
ADDITIVE = INTEGERS[:4]


@pytest.fixture(scope="module")
def files(analyse: Callable[..., Analysis]) -> dict[str, str]:
    return report_files(analyse("dsocr-snapshot-2x2"))


@pytest.fixture(scope="module")
def report(files: dict[str, str]) -> Any:
    return json.loads(files["report.json"])


def test_files_validate_against_the_schema_that_ships_with_them(files: dict[str, str]) -> None:
    schema = json.loads(files["report.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(files["report.json"]), schema)
    summary = {**schema, "$ref": "#/$defs/DeepSeekOCRAnalyticReportSummary"}
    jsonschema.validate(json.loads(files["summary.json"]), summary)


def test_the_schema_refuses_what_is_no_report(files: dict[str, str]) -> None:
    schema = json.loads(files["report.schema.json"])
    broken = json.loads(files["report.json"])
    broken["module_metrics"][0]["io_bytes"] = -1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_yaml_says_the_same(files: dict[str, str], report: Any) -> None:
    assert YAML(typ="safe", pure=True).load(files["report.yaml"]) == report


def test_csv_has_a_row_for_each_module(files: dict[str, str], report: Any) -> None:
    rows = list(csv.DictReader(StringIO(files["modules.csv"])))
    assert [r["module_id"] for r in rows] == [m["module_id"] for m in report["modules"]]
    for row, metrics in zip(rows, report["module_metrics"], strict=True):
        assert int(row["io_bytes"]) == metrics["io_bytes"]


def test_the_modules_are_one_rooted_tree(report: Any) -> None:
    modules = {m["module_id"]: m for m in report["modules"]}
    assert len(modules) == len(report["modules"])
    assert [m for m in modules if modules[m]["parent_id"] is None] == ["model"]
    for module_id, module in modules.items():
        for child in module["children"]:
            assert modules[child]["parent_id"] == module_id
    assert sum(len(m["children"]) for m in modules.values()) == len(modules) - 1


def test_references_resolve_and_numbers_are_not_negative(report: Any) -> None:
    ids = {m["module_id"] for m in report["modules"]}
    categories = {c["category_id"] for c in report["operator_categories"]}
    assert {m["module_id"] for m in report["module_metrics"]} == ids
    for metrics in report["module_metrics"]:
        assert {o["category_id"] for o in metrics["operator_breakdown"]} <= categories
        assert all(metrics[key] >= 0 for key in INTEGERS)


def test_sums(report: Any) -> None:
    """A node is itself and its children; a stage is the sum of self; so are the classes."""
    metrics = {m["module_id"]: m for m in report["module_metrics"]}
    for module in report["modules"]:
        mine = metrics[module["module_id"]]
        for key in ADDITIVE:
            inside = sum(metrics[c][key] for c in module["children"])
            assert mine[key] == mine["self"][key] + inside
        inside = max((metrics[c]["activation_bytes"] for c in module["children"]), default=0)
        # A caller's own tensors lie beside those of its children.
        assert mine["activation_bytes"] >= max(mine["self"]["activation_bytes"], inside)
        breakdown = sum(o["device_time_ms"] for o in mine["operator_breakdown"])
        assert breakdown == pytest.approx(mine["device_time_ms"])
    for key in ADDITIVE:
        root = metrics["model"][key]
        assert sum(s[key] for s in report["stages"].values()) == root
        assert sum(layer[key] for layer in report["layers"]) == root
    assert sum(s["time_ms"] for s in report["stages"].values()) == pytest.approx(
        report["predicted_total_time_ms"]
    )


def test_weights_are_there_once(report: Any) -> None:
    metrics = {m["module_id"]: m for m in report["module_metrics"]}
    assert metrics["model"]["weight_bytes"] == 2 * 3_336_106_240
    assert sum(layer["num_parameters"] for layer in report["layers"]) == 3_336_106_240
    assert metrics["vision"]["weight_bytes"] == metrics["vision.global"]["weight_bytes"]


def test_known_ids_and_instances(report: Any) -> None:
    modules = {m["module_id"]: m for m in report["modules"]}
    assert modules["prefill/lm_head"]["class_name"] == "LMHead"
    experts = modules["decode/model.layers.[1-11].mlp.experts.[0-63].gate_proj"]
    assert experts["instances"] == 704 == len(list(expand(experts["torch_path"])))
    layers = {layer["class_name"]: layer["instances"] for layer in report["layers"]}
    assert layers["Linear"] + layers["LMHead"] == 2342
    assert len(layers) == 29 + 2  # the 29 classes, LMHead, the whole model


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_makes_a_valid_report(
    analyse: Callable[..., Analysis], workload: str
) -> None:
    report = analyse(workload).report
    assert set(report.stages) == {"vision", "projector", "prefill", "decode"}
    assert all(m.total_time_ms >= 0 for m in report.module_metrics)


def test_no_decode_leaves_an_empty_stage(analyse: Callable[..., Analysis]) -> None:
    report = analyse("dsocr-tiny", max_new_tokens=1).report
    assert report.stages["decode"].matmul_flops == 0
    assert report.node("decode").children == []


def test_rounds_add_up(analyse: Callable[..., Analysis]) -> None:
    """Seven pages in rounds of three are two rounds of three and one of one."""
    seven = analyse("dsocr-tiny", batch_size=3, num_pages=7).report
    three = analyse("dsocr-tiny", batch_size=3, num_pages=3).report
    one = analyse("dsocr-tiny", batch_size=1, num_pages=1).report
    for key in ADDITIVE:
        parts = 2 * getattr(three.metrics("model"), key) + getattr(one.metrics("model"), key)
        assert getattr(seven.metrics("model"), key) == parts
    assert seven.metrics("model").kvcache_bytes == three.metrics("model").kvcache_bytes


def test_last_logits_shrink_the_head_alone(analyse: Callable[..., Analysis]) -> None:
    all_, last = (
        analyse("dsocr-tiny", logits_positions=p).report.metrics("prefill/lm_head").matmul_flops
        for p in ("all", "last")
    )
    assert all_ == 83 * last


def test_modelmeter_methods_agree_with_the_report(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-standard-v1")
    root = build(analysis.config, analysis.plan)
    metrics = analysis.report.metrics("model")
    flops = root.forward_tensor_core_flops() + root.forward_cuda_core_flops()
    assert flops == pytest.approx(metrics.total_flops_tflops)
    assert root.forward_cal_io() == pytest.approx(metrics.total_io_tb)
    assert root.forward_memory_weight() == metrics.memory_weights_gb
    assert root.forward_memory_activation() == metrics.memory_activations_gb
    assert root.forward_memory_kvcache() == metrics.memory_kvcache_gb
    intensity = metrics.total_flops_tflops / metrics.total_io_tb
    assert root.forward_arithmetic_intensity() == pytest.approx(intensity)


def _integer(quantity: object) -> int:
    assert isinstance(quantity, int)
    return quantity


def test_fused_moves_no_more_than_its_operations(analyse: Callable[..., Analysis]) -> None:
    """A kernel moves at most what its operations would move one by one."""
    analysis = analyse("dsocr-snapshot-2x2", traffic="fused")
    checked = 0
    for visit in walk(build(analysis.config, analysis.plan)):
        for kernel in visit.layer.kernels():
            alone = [k.io_bytes for o in kernel.operations for k in fuse([o])]
            assert _integer(kernel.io_bytes) <= sum(map(_integer, alone))
            checked += len(kernel.operations) > 1
    assert checked > 20


@given(st.lists(st.integers(0, 400), min_size=1, unique=True))
def test_patterns_name_exactly_their_indices(numbers: list[int]) -> None:
    assert list(expand(f"a.{indices(numbers)}.b")) == [f"a.{n}.b" for n in sorted(numbers)]


AMOUNT = st.floats(0, 1e3)


PARTS = st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT)


@given(PARTS, PARTS, st.integers(2, 300))
def test_a_series_of_maxima_is_the_sum_of_each_steps_maximum(
    first: tuple[float, ...], last: tuple[float, ...], steps: int
) -> None:
    def at(step: int) -> list[float]:
        return [a + (b - a) * step / (steps - 1) for a, b in zip(first, last, strict=True)]

    expected = sum(max(at(step)) for step in range(steps))
    lines = numpy.array(first)[:, None], numpy.array(last)[:, None], numpy.array([steps])
    assert by_part(*lines).sum() == pytest.approx(expected, abs=1e-6)
    assert series_of_maximum(*(*first, *last, steps)) == pytest.approx(expected, abs=1e-6)


def test_every_shipped_gpu_is_derivable() -> None:
    gpus = shipped("hardware")
    assert len(gpus) >= 20
    assert {"h100-sxm", "a100-80gb-sxm", "a100-40gb-sxm", "rtx-5090", "rtx-4090"} <= set(gpus)
    no_bfloat16 = {gpu for gpu in gpus if load_hardware(gpu).tensor_bf16 is None}
    assert no_bfloat16 == {"t4", "v100-32gb-sxm"}
    settings = pipeline.Settings(hardware=tuple(gpu for gpu in gpus if gpu not in no_bfloat16))
    analyses = pipeline.analyse(settings)
    times = {a.hardware.hardware_id: a.root.total.time_ms for a in analyses[0]}
    assert times["h100-sxm"] < times["a100-80gb-sxm"] < times["a100-40gb-sxm"]


def test_source_date_epoch(
    analyse: Callable[..., Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert analyse("dsocr-tiny").report.generated_at is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert analyse("dsocr-tiny").report.generated_at == "1970-01-01T00:00:00+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH"):
        _ = analyse("dsocr-tiny").report


def test_the_expectation_of_distinct_experts_is_rounded_once(
    analyse: Callable[..., Analysis],
) -> None:
    """At batch 3 a step reads 64·(1 − (58/64)³) experts' weights, in whole bytes a product."""
    analysis = analyse("dsocr-tiny", batch_size=3, num_pages=3, max_new_tokens=2)
    node = analysis.nodes["decode/model.layers.[1-11].mlp.experts.[0-63].gate_proj"]
    distinct = 64 * (1 - (1 - 6 / 64) ** 3)
    per_layer = round(2 * (18 * 1280 + distinct * 896 * 1280 + 18 * 896))
    assert node.own.io_bytes == 11 * per_layer
    assert node.calls == round(11 * distinct)
