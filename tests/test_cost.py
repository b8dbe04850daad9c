"""One cost engine: every reader of it agrees for every workload key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from playwright.sync_api import Browser, Error

from mkdocs_dsocr.cost import browser, forms
from mkdocs_dsocr.cost.passes import COUNTS
from mkdocs_dsocr.cost.program import Program
from mkdocs_dsocr.inputs import ModelConfig, Workload, load_hardware, load_workload, shipped
from mkdocs_dsocr.layers.figures import FIGURES
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.models import (
    Choices,
    Load,
    Plan,
    Sizes,
    deepseek_ocr,
    load_model_config,
    plan,
    registry,
)
from mkdocs_dsocr.quantities import Symbol, less, total
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.fields import Integers
from mkdocs_dsocr.sweep import api, studies
from mkdocs_dsocr.trace import PassShape

SKEWED = [float(1 + expert % 7) for expert in range(64)]
"""A load that prefers every seventh expert."""


def _skewed(name: str, **changes: Any) -> Workload:
    fields = load_workload(name).model_dump() | {"expert_load": tuple(SKEWED), **changes}
    return Workload.model_validate(fields)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "unlimited-ocr"])
def test_a_skewed_load_of_experts_is_the_same_everywhere(model: str, batch: int) -> None:
    """Report, sweep and the tables of pages."""
    config, gpu = load_model_config(model), load_hardware("rtx-5090")
    workload = _skewed("dsocr-standard-v1", batch_size=batch, num_pages=batch)
    analysis = Analysis(config, workload, gpu)
    planned = plan(config, workload)
    found = api.rows_of(config, planned, [gpu])
    even = Analysis(config, workload.model_copy(update={"expert_load": None}), gpu)
    assert analysis.root.total.io_bytes != even.root.total.io_bytes
    for key in COUNTS:
        assert found[key][0] == getattr(analysis.root.total, key), key
    assert found["time_ms"][0] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    assert found["pages_per_s"][0] == pytest.approx(analysis.latency.pages_per_s, rel=1e-9)
    compared = studies.by_gpu(config, planned, [gpu], [batch])
    assert compared["pages_per_s"][0] == pytest.approx(analysis.latency.pages_per_s, rel=1e-9)
    assert compared["tpot_ms"][0] == pytest.approx(analysis.latency.tpot_middle_ms, rel=1e-9)
    plotted = studies.by_batch(config, planned, gpu)
    of_batch = int(numpy.flatnonzero(plotted["batch_size"] == batch)[0])
    assert plotted["tpot_ms"][of_batch] == compared["tpot_ms"][0]


@pytest.mark.parametrize("model", shipped("models"))
def test_fewer_pages_than_a_batch_are_the_same_everywhere(model: str) -> None:
    config, gpu = load_model_config(model), load_hardware("rtx-5090")
    workload = load_workload("dsocr-base").model_copy(update={"batch_size": 8, "num_pages": 3})
    analysis = Analysis(config, workload, gpu)
    found = api.rows_of(config, analysis.plan, [gpu])
    assert found["time_ms"][0] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    assert found["footprint_bytes"][0] == analysis.footprint_bytes


@pytest.mark.parametrize("model", shipped("models"))
def test_serving_and_latency_agree_at_the_same_batch(model: str) -> None:
    config, gpu = load_model_config(model), load_hardware("h100-sxm")
    for batch in (1, 4, 32):
        workload = _skewed("dsocr-base", batch_size=batch, num_pages=batch)
        even: dict[str, Any] = {"expert_load": None}
        skewed: list[dict[str, Any]] = [{}] if config.language.has_experts else []
        for changes in (even, {"host_mode": "cuda_graph", **even}, *skewed):
            report = Analysis(config, workload.model_copy(update=changes), gpu).report
            assert report.serving is not None
            point = next(p for p in report.serving.points if p.batch == batch)
            assert point.tpot_ms == pytest.approx(report.latency.tpot_middle_ms, rel=1e-9)


def _run_script(chrome: Browser, script: str, call: str) -> Any:
    """Return what an expression is in JavaScript, after a script."""
    page = chrome.new_page()
    try:
        page.add_script_tag(content=script)
        return page.evaluate(call)
    finally:
        page.close()


def _fields(planned: Plan) -> dict[str, Any]:
    fields = planned.workload.model_dump(mode="json")
    return fields | {"crop_grid": planned.grid, "text_tokens": planned.text_tokens}


@pytest.mark.browser
@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "unlimited-ocr"])
def test_the_browser_knows_the_load_of_a_sites_workloads_and_refuses_others(
    chrome: Browser, model: str
) -> None:
    config, gpu = load_model_config(model), load_hardware("h100-sxm")
    workload = _skewed("dsocr-standard-v1", batch_size=16, num_pages=16)
    analysis, rates = Analysis(config, workload, gpu), json.dumps(browser.gpu_rates(gpu))
    fields = json.dumps(_fields(analysis.plan))
    call = f"dsocrFormulas.batch({fields}, {rates})"
    found = _run_script(chrome, browser.text(config, [workload]), call)
    assert found["time_ms"] == pytest.approx(analysis.predicted_ms, rel=1e-9)
    assert found["prefill_io_bytes"] == analysis.stage_totals["prefill"].io_bytes
    with pytest.raises(Error, match="expert_load"):
        _run_script(chrome, browser.text(config), call)


class Bounded(deepseek_ocr.DeepSeekOCR):
    """A model of another author, whose formulas depend on the number of new tokens."""

    architecture = "BoundedForCausalLM"
    limit = 600

    def choices(self, config: ModelConfig, pass_id: str, sizes: Sizes) -> Choices:
        found = super().choices(config, pass_id, sizes)
        if "q_len" in sizes:
            return {**found, "long": less(self.limit, sizes["q_len"])}
        return found

    def modules(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        items = super().modules(config, shape, load, chosen)
        # A long prompt runs its LM head twice.
        twice = bool(chosen.get("long"))
        for child in items:
            again = twice and child.name == "lm_head"
            yield dataclasses.replace(child, calls=2) if again else child


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch, config: ModelConfig) -> ModelConfig:
    models = {**registry.known_models(), Bounded.architecture: Bounded()}
    monkeypatch.setattr(registry, "known_models", lambda: models)
    return config.model_copy(update={"architecture": Bounded.architecture})


@pytest.mark.browser
@pytest.mark.parametrize("text_tokens", [10, 400])
def test_a_choice_that_depends_on_any_size_is_evaluated_everywhere(
    chrome: Browser, bounded: ModelConfig, text_tokens: int
) -> None:
    gpu = load_hardware("h100-sxm")
    fields = load_workload("dsocr-base").model_dump() | {"seq_len": None}
    workload = Workload.model_validate(fields | {"text_tokens": text_tokens})
    analysis = Analysis(bounded, workload, gpu)
    lm_head = analysis.nodes["prefill/lm_head"]
    assert lm_head.calls == (2 if analysis.plan.seq_len > Bounded.limit else 1)
    swept = api.rows_of(bounded, analysis.plan, [gpu])
    assert swept["matmul_flops"][0] == analysis.root.total.matmul_flops
    inputs = json.dumps(_fields(analysis.plan)), json.dumps(browser.gpu_rates(gpu))
    found = _run_script(chrome, browser.text(bounded), f"dsocrFormulas.batch({', '.join(inputs)})")
    assert found["prefill_matmul_flops"] == analysis.stage_totals["prefill"].matmul_flops
    assert found["time_ms"] == pytest.approx(analysis.predicted_ms, rel=1e-9)


def test_every_combination_of_choices_that_sizes_allow_has_a_form() -> None:
    size, tokens = Symbol("image_size"), Symbol("q_len")
    choices = {
        "large": less(640, size),
        "never": less(10**9, size),
        "long": less(7, tokens),
        "on": 1,
    }
    found = forms.reachable(choices)
    assert found == [
        {"large": large, "never": False, "long": long, "on": True}
        for large in (False, True)
        for long in (False, True)
    ]


@pytest.mark.parametrize("host_mode", ["eager", "cuda_graph"])
@pytest.mark.parametrize(
    "name",
    [
        *shipped("workloads")[::2],
        *(pytest.param(name, marks=pytest.mark.slow) for name in shipped("workloads")[1::2]),
    ],
)
@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "unlimited-ocr"])
def test_own_times_of_all_nodes_add_up_to_the_predicted_total(
    model: str, name: str, host_mode: str
) -> None:
    config = load_model_config(model)
    workload = load_workload(name).model_copy(update={"host_mode": host_mode})
    bound = set()
    for gpu in ("rtx-5090", "t4"):
        profile = load_hardware(gpu)
        if gpu == "t4":  # slow, and without bfloat16
            workload = workload.model_copy(
                update=dict.fromkeys(("weight_dtype", "activation_dtype", "kv_dtype"), "fp16")
            )
        report = Analysis(config, workload, profile).report
        root, *_ = report.module_metrics
        own = [m.self_total_time_ms for m in report.module_metrics]
        assert sum(own) == pytest.approx(report.predicted_total_time_ms, rel=1e-9)
        assert root.total_time_ms == pytest.approx(report.predicted_total_time_ms, rel=1e-9)
        assert root.share_of_model_time == pytest.approx(1, rel=1e-9)
        for metrics in (m for m in report.module_metrics if m.module_id in report.stages):
            stage = report.stages[metrics.module_id]  # type: ignore[index]
            assert metrics.total_time_ms == pytest.approx(stage.time_ms, rel=1e-9)
            assert metrics.device_time_ms == pytest.approx(stage.device_time_ms, rel=1e-9)
            assert metrics.host_time_ms == pytest.approx(stage.host_time_ms, rel=1e-9, abs=1e-12)
            bound.add(stage.binding_ceiling == "host")
        assert sum(layer.total_time_ms for layer in report.layers) <= root.total_time_ms * (
            1 + 1e-9
        )
    assert bound  # both kinds occur over all workloads


def test_the_schema_and_the_sweep_have_the_figures_of_the_table() -> None:
    assert list(Integers.model_fields) == [key for key, f in FIGURES.items() if f.in_report]
    assert set(COUNTS) <= set(FIGURES)
    for key, field in Integers.model_fields.items():
        assert field.description == FIGURES[key].description


def test_sums_over_steps_take_integers_beyond_64_bits(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-tiny", batch_size=10**6, num_pages=10**6, max_new_tokens=10**6)
    assert analysis.root.total.matmul_flops > 2**63
    assert numpy.isfinite(analysis.predicted_ms)


def test_a_sum_may_have_more_terms_than_python_may_nest_calls() -> None:
    x = Symbol("x")
    program = Program({"sum": total(x * n for n in range(1, 5001))})
    found = program.run({"x": numpy.array([1, 2])}, 2)
    assert found["sum"].tolist() == [12_502_500, 25_005_000]
