"""The Python-Markdown extension: figures, formulas and charts in any page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import markdown
import pytest

from mkdocs_dsocr.extension import _analysis
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.resources import data_dir
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.embed import SUMS, embedded
from mkdocs_dsocr.site.forms import forms

OPTIONS = {"model": "deepseek-ocr-v1-base", "workload": "dsocr-tiny", "hardware": "h100-sxm"}
NAME = "mkdocs_dsocr.extension"


def html(text: str) -> str:
    return str(
        markdown.markdown(text, extensions=["tables", NAME], extension_configs={NAME: OPTIONS})
    )


def test_a_figure_is_the_reports() -> None:
    report = _analysis(**OPTIONS).report
    moe = "decode/model.layers.[1-11].mlp"
    page = html(f"[dsocr: figure latency.ttft_ms], [dsocr: figure {moe} total_time_ms]")
    times = (report.latency.ttft_ms, report.metrics(moe).total_time_ms)
    assert page == f"<p>{', '.join(map(units.milliseconds, times))}</p>"
    prefill = report.metrics("prefill").total_time_ms
    assert html("[dsocr: figure prefill total_time_ms]") == f"<p>{units.milliseconds(prefill)}</p>"
    flops = report.stages["decode"].matmul_flops
    assert html("[dsocr: figure decode matmul_flops]") == f"<p>{units.flops(flops)}</p>"
    assert html("[dsocr: figure Linear num_parameters]") == "<p>2,992,695,552</p>"


@pytest.mark.parametrize("class_name", ["Linear", "DeepseekV2MLP", "LlamaFlashAttention2"])
def test_a_formula_with_numbers_is_the_value_of_one_call(class_name: str) -> None:
    analysis = _analysis(**OPTIONS)
    layer = forms(analysis.classes[class_name])[0].example.layer
    found = re.search(r'alttext="([^"]*)"', embedded(analysis, "formula", class_name, SUMS[0]))
    assert found
    formula = found[1].translate({ord("·"): "*", ord("−"): "-", ord("^"): "**"})
    assert eval(formula, {}, layer.values()) == tree.summed(layer, metrics.matmul_flops)


def test_a_chart_brings_its_style_and_stands_on_its_own() -> None:
    for name in ("time", "memory", "DeepseekV2MoE"):
        page = html(f"[dsocr: chart {name}]")
        assert page.startswith('<div class="dsocr"><style>')
        assert page.endswith("</div>")
        style = page[: page.index("</style>")]
        for colours in ("<style>.dsocr { ", '\n[data-md-color-scheme="slate"] .dsocr { '):
            assert style.partition(colours)[2].partition("}")[0].count("--dsocr-0: #") == 1
        assert "<title>" in page
        assert "<a " not in page
        assert "xlink" not in page


def test_inputs_are_read_again_after_an_edit(tmp_path: Path) -> None:
    workload = tmp_path / "w.yaml"
    found = []
    for new_tokens in (100, 200):
        text = (data_dir() / "workloads/dsocr-tiny.yaml").read_text()
        workload.write_text(text.replace("max_new_tokens: 512", f"max_new_tokens: {new_tokens}"))
        analysis = _analysis(**{**OPTIONS, "workload": str(workload)})
        found.append(analysis.plan.steps)
    assert found == [99, 199]


def test_a_list_is_no_gpu() -> None:
    words = "hardware: found [1]; allowed: an id or a path"
    options: dict[str, Any] = {**OPTIONS, "hardware": [1]}
    with pytest.raises(InputError, match=re.escape(words)):
        _analysis(**options)


def test_a_format_that_the_gpu_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="allowed: what the tensor cores of t4 know"):
        _analysis(**{**OPTIONS, "hardware": "t4"})


def test_code_and_links_stay() -> None:
    assert html("`[dsocr: figure x]`") == "<p><code>[dsocr: figure x]</code></p>"
    assert html("[dsocr](a.md)") == '<p><a href="a.md">dsocr</a></p>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("figure nix", "found 'nix'; allowed: the key of a number in report.json"),
        ("figure latency", "found 'latency'; allowed: the key of a number in report.json"),
        ("figure nix time_ms", "found 'nix'; allowed: a stage, class or module_id: vision, "),
        ("formula Nix matmul_flops", "found 'Nix'; allowed: DeepseekOCRForCausalLM, "),
        ("formula Linear dispatches", "found 'dispatches'; allowed: matmul_flops, "),
        ("formula ModuleList matmul_flops", "allowed: a class with dimensions of its own"),
        ("chart nix", "found 'nix'; allowed: time, memory, "),
        ("picture x", "allowed: figure [OWNER] KEY, formula CLASS KEY, or chart NAME"),
    ],
)
def test_what_is_not_there_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        html(f"[dsocr: {text}]")
