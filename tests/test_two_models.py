"""Two models: side by side, in one site, each with its own report, pages and measurements."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import (
    Hardware,
    InputError,
    ModelConfig,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.models import (
    load_model_config,
)
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.build import class_families
from mkdocs_dsocr.report.models import LENGTHS, compare_models
from mkdocs_dsocr.report.paper import active_parameters
from mkdocs_dsocr.report.saved import as_config
from mkdocs_dsocr.sweep.whatif import evaluated
from tests.conftest import TINY_UNLIMITED, BuildSite, measured_on_cpu

BOTH = ("deepseek-ocr-v1-base", "unlimited-ocr")


@pytest.fixture(scope="module")
def whole() -> ModelConfig:
    return load_model_config("unlimited-ocr")


@pytest.fixture(scope="module")
def mains(gpu: Hardware) -> list[Analysis]:
    workload = load_workload("dsocr-a4-gundam")
    return [Analysis(load_model_config(model), workload, gpu) for model in BOTH]


def test_models_side_by_side_are_their_own_analyses(
    mains: list[Analysis], whole: ModelConfig
) -> None:
    compared = compare_models(mains[0], [whole])
    found = {(row.section, row.name): row for row in compared.rows}
    assert len(found) == len(compared.rows)

    def both(section: str, name: str) -> tuple[Any, ...]:
        return found[section, name].values

    assert both("Model", "parameters") == (3_336_106_240, 3_335_504_128)
    assert both("Model", "active per token") == tuple(active_parameters(a.config) for a in mains)
    for stage in ("vision", "projector", "prefill", "decode"):
        stages = [a.report.stages[stage] for a in mains]
        assert both(stage, "matmul FLOPs") == tuple(s.matmul_flops for s in stages)
        assert both(stage, "bytes moved") == tuple(s.io_bytes for s in stages)
        assert (stage, "bytes, eager") not in found
        assert both(stage, "operators") == tuple(s.dispatches for s in stages)
        assert both(stage, "estimate") == tuple(s.time_ms for s in stages)
        assert both(stage, "floor") == tuple(s.floor_time_ms for s in stages)
    ttft = found["What a user waits for", "time to first token"]
    assert ttft.values == tuple(a.latency.ttft_ms for a in mains)
    assert ttft.ratio == pytest.approx(mains[1].latency.ttft_ms / mains[0].latency.ttft_ms)
    assert both("Memory", "needed in all") == tuple(a.footprint_bytes for a in mains)
    # The towers are the same; a cache without a window grows by as much a token.
    assert found["vision", "matmul FLOPs"].ratio == 1
    caches = [both("KV cache", f"after {n:,} new tokens") for n in LENGTHS]
    seq_len, a_token = mains[0].plan.seq_len, 2 * 2 * 12 * 1280
    assert [c[0] for c in caches] == [a_token * (seq_len + n - 1) for n in LENGTHS]
    assert [c[1] for c in caches] == [a_token * (seq_len + min(n - 1, 128)) for n in LENGTHS]


def test_compare_on_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", *BOTH])
    assert done.exit_code == 0, done.output
    assert "a new token attends to" in done.output
    assert "the prompt and 128 new tokens" in done.output
    output = tmp_path / "models.json"
    done = CliRunner().invoke(main, ["compare", *BOTH, "--output", str(output)])
    assert done.exit_code == 0, done.output
    saved = json.loads(output.read_text())
    assert saved["models"] == list(BOTH)
    assert {f["kind"] for f in saved["figures"]} == {
        "text",
        "integer",
        "flops",
        "bytes",
        "ms",
        "number",
    }
    done = CliRunner().invoke(main, ["compare", BOTH[0], BOTH[0]])
    assert done.exit_code == 2
    assert "MODELS: found deepseek-ocr-v1-base" in done.output
    assert "each model once" in done.output


def test_a_saved_report_is_evaluated_by_its_own_model(
    whole: ModelConfig, mains: list[Analysis]
) -> None:
    analysis = mains[1]
    report = analysis.report
    assert report.model.architecture == whole.architecture
    (longer,) = evaluated(report, Path("report.json"), [{"max_new_tokens": 5_000}])
    workload = analysis.workload.model_copy(update={"max_new_tokens": 5_000})
    expected = Analysis(whole, workload, analysis.hardware)
    assert longer.figures["footprint_bytes"] == expected.footprint_bytes
    assert math.isclose(longer.figures["ttft_ms"] or 0, expected.latency.ttft_ms, rel_tol=1e-12)
    older = report.model_copy(
        update={"model": report.model.model_copy(update={"architecture": None})}
    )
    assert as_config(older, Path("report.json")).architecture == "DeepseekOCRForCausalLM"
    other = report.model.model_copy(update={"architecture": "Other"})
    with pytest.raises(InputError, match="architecture: found 'Other'"):
        as_config(report.model_copy(update={"model": other}), Path("report.json"))


@pytest.mark.slow
def test_it_runs_on_a_real_device(tmp_path: Path) -> None:
    """Every pass and module timed on the CPU, and shown beside the prediction."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/config.json").write_text(TINY_UNLIMITED)
    tiny = pipeline.Settings(f"{tmp_path}/tiny/", ("dsocr-tiny",))
    text = measured_on_cpu(pipeline.analyse(tiny))
    (tmp_path / "m.json").write_text(text)
    profile = load_hardware("rtx-4090").model_dump(mode="json")
    profile |= {"hardware_id": "cpu", "device_names": [json.loads(text)["device"]]}
    (tmp_path / "cpu.yaml").write_text(yaml.safe_dump(profile))
    shown = dataclasses.replace(
        tiny, hardware=(f"{tmp_path}/cpu.yaml",), measurements=(f"{tmp_path}/m.json",)
    )
    comparison = pipeline.analyse(shown)[0][0].comparison
    assert comparison is not None
    assert {row.stage for row in comparison.stages} == {"vision", "projector", "prefill", "decode"}
    timed = {row.module_id for row in comparison.modules}
    assert {"decode/lm_head", "decode/model.language_model.layers.0.self_attn"} < timed
    assert all(row.measured_ms > 0 for row in comparison.modules)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["github", "myst", "zensical"])
def test_its_pages_are_exported(tmp_path: Path, flavour: str) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/config.json").write_text(TINY_UNLIMITED)
    flags = ["--model", f"{tmp_path}/tiny/", "--workload", "dsocr-tiny", "--flavour", flavour]
    done = CliRunner().invoke(main, ["export", str(tmp_path / "pages"), *flags])
    assert done.exit_code == 0, done.output
    assert "Unlimited-OCR overview" in (tmp_path / "pages/index.md").read_text()
    assert (tmp_path / "pages/layers/UnlimitedOcrTextExperts.md").is_file()
    assert (tmp_path / "pages/planner.md").exists() == (flavour == "zensical")


TWO = """
site_name: s
theme: {name: material, font: false}
plugins:
  - search
  - dsocr: {compared_models: [unlimited-ocr]}
  - dsocr: {path: other, model: unlimited-ocr}
nav:
  - index.md
  - One: dsocr/
  - Other: other/
"""


@pytest.mark.slow
def test_two_models_in_one_site(build_site: BuildSite) -> None:
    """Two instances of the plugin; a page that compares; neither shows what the other is about."""
    built = build_site(TWO)
    assert built.returncode == 0, built.output
    page = built.read("dsocr/models/index.html")
    assert "the prompt and 128 new tokens" in page
    saved = json.loads(built.read("dsocr/artifacts/dsocr-standard-v1/models.json"))
    assert saved["models"] == list(BOTH)
    other = built.read("other/index.html")
    assert "Unlimited-OCR overview" in other
    assert "33 of 33 traced classes" in built.read("other/evidence/index.html")
    assert other.count("assets/dsocr.js") == 1
    attention = built.read("other/layers/UnlimitedOcrTextAttention/index.html")
    assert "window" in attention
    assert "with transformers" in built.read("other/verification/index.html")
    assert "with transformers" not in built.read("dsocr/verification/index.html")
    assert not (built.site / "other/models").exists()
    assert (built.site / "dsocr/models").is_dir()
    assert "Published figures" in built.read("dsocr/evidence/index.html")
    assert "Published figures" not in other + built.read("other/evidence/index.html")
    scripts = {built.read(f"{p}/artifacts/static/formulas.js") for p in ("dsocr", "other")}
    assert len(scripts) == 2
    report = json.loads(built.read("other/artifacts/dsocr-standard-v1/report.json"))
    assert report["model"]["architecture"] == "UnlimitedOcrForConditionalGeneration"
    stages = json.loads(built.read("other/artifacts/static/torchinfo-stages.json"))
    assert [(s["stage"], s["calls"]) for s in stages] == [
        ("sam", 2),
        ("clip", 2),
        ("projector", 2),
        ("prefill", 1),
        ("decode", 511),
    ]


def test_every_class_has_an_operator_family(mains: list[Analysis]) -> None:
    known = {
        "Attention": "attention",
        "DeepseekV2MoE": "linear",
        "MoEGate": "routing",
        "PatchEmbed": "conv2d",
        "CLIPVisionEmbeddings": "embedding",
        "UnlimitedOcrTextAttention": "attention",
        "UnlimitedOcrTextExperts": "linear",
        "UnlimitedOcrTextRotaryEmbedding": "rope",
        "UnlimitedOcrTextTopkRouter": "routing",
        "QuickGELUActivation": "activation",
        "UnlimitedOcrSamLayerNorm": "norm",
    }
    found = {k: v for analysis in mains for k, v in class_families(analysis).items()}
    assert {name: found[name] for name in known} == known
    assert "other" not in found.values()
