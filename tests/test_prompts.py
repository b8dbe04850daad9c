"""Prompts of several pages: Unlimited-OCR's main use, wherever a workload is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from click.testing import CliRunner
from playwright.sync_api import Browser

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import Hardware, InputError, Workload, load_hardware, load_workload
from mkdocs_dsocr.inputs.files import validate
from mkdocs_dsocr.models import load_model_config, plan
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.saved import as_workload
from mkdocs_dsocr.sweep import api
from mkdocs_dsocr.sweep.whatif import evaluated
from tests.browsing import Visitor, served
from tests.conftest import MINIMAL, TINY_UNLIMITED, BuildSite, BuiltSite

MODEL = "unlimited-ocr"
EACH = 5


def _workload(name: str = "dsocr-a4-gundam", **fields: Any) -> Workload:
    given = load_workload(name).model_dump(exclude_unset=True, exclude={"num_pages"})
    return validate(Workload, {"pages_per_prompt": EACH, **given, **fields}, Path("w.yaml"))


def test_a_prompt_has_the_tokens_and_the_views_of_all_its_pages(gpu: Hardware) -> None:
    """As many pages, one by one or all in one prompt: the same vision, a longer context."""
    config = load_model_config(MODEL)
    prompt = Analysis(config, _workload(), gpu)
    pages = Analysis(config, _workload(pages_per_prompt=1, num_pages=EACH), gpu)
    assert prompt.workload.pages == pages.workload.pages == EACH
    assert prompt.plan.image_tokens == EACH * pages.plan.image_tokens
    assert prompt.plan.seq_len == prompt.plan.image_tokens + pages.plan.text_tokens
    for stage in ("vision", "projector"):
        assert prompt.stage_totals[stage].counts == pages.stage_totals[stage].counts
    decode = prompt.nodes["decode"].total
    assert decode.kvcache_bytes > (EACH - 1) * pages.nodes["decode"].total.kvcache_bytes
    # A user waits for all pages of the prompt, and gets one answer.
    before = sum(prompt.stage_times[s].time_ms for s in ("vision", "projector", "prefill"))
    assert prompt.latency.ttft_ms == pytest.approx(before)
    assert prompt.latency.pages_per_s == pytest.approx(1000 * EACH / prompt.predicted_ms)
    assert prompt.report.workload.pages_per_prompt == EACH


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        ("deepseek-ocr-v1-base", {}, "pages_per_prompt: found 5; allowed: 1: DeepSeek-OCR reads"),
        (MODEL, {"num_pages": 12}, "num_pages: found 12; allowed: a multiple of pages_per_prompt"),
        (MODEL, {"num_pages": 10, "batch_size": 3}, "batch_size: found 3; allowed: at most 2 prom"),
        (MODEL, {"engine": "vllm"}, "pages_per_prompt: found 5; allowed: 1 with engine: vllm"),
        (MODEL, {"pages_per_prompt": 0}, "pages_per_prompt: found 0; allowed: a whole number"),
        (MODEL, {"max_new_tokens": 10**7}, "tokens per prompt; allowed: at most 10,000,000"),
    ],
)
def test_what_makes_no_prompts_is_refused(model: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        plan(load_model_config(model), _workload(**fields))
    assert words in str(error.value)


def test_text_has_no_pages() -> None:
    fields = {"profile_id": "t", "text_only": True, "text_tokens": 5, "max_new_tokens": 2}
    with pytest.raises(InputError, match="pages_per_prompt: found 2; allowed: 1 with text_only"):
        validate(Workload, {**fields, "pages_per_prompt": 2}, Path("w.yaml"))


def test_sweeps_and_what_ifs_are_the_reports(gpu: Hardware) -> None:
    config = load_model_config(MODEL)
    report = Analysis(config, _workload(), gpu).report
    each = [1, 2, EACH, 12]
    found = api.rows_of(
        config, plan(config, _workload()), [gpu], None, None, pages_per_prompt=numpy.array(each)
    )
    given = [{"pages_per_prompt": n} for n in each]
    for index, scenario in enumerate(evaluated(report, Path("report.json"), given, [gpu])):
        workload = _workload(pages_per_prompt=each[index])
        analysis = Analysis(config, workload, gpu)
        assert as_workload(analysis.report.workload).pages_per_prompt == each[index]
        assert scenario.figures["ttft_ms"] == pytest.approx(analysis.latency.ttft_ms)
        assert scenario.figures["pages_per_s"] == pytest.approx(analysis.latency.pages_per_s)
        assert scenario.figures["footprint_bytes"] == analysis.footprint_bytes
        # As many whole prompts as the base has pages.
        pages = -(-EACH // each[index]) * each[index]
        swept = Analysis(config, _workload(pages_per_prompt=each[index], num_pages=pages), gpu)
        assert found["time_ms"][index] == pytest.approx(swept.predicted_ms, rel=1e-9)
        assert found["footprint_bytes"][index] == swept.footprint_bytes
    with pytest.raises(InputError, match="num_pages: found 7; allowed: a multiple of pages_per"):
        api.rows_of(config, plan(config, _workload()), [gpu], num_pages=numpy.array([7]))


def test_an_engine_is_asked_for_single_pages(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(yaml.safe_dump(_workload().model_dump(mode="json", exclude_none=True)))
    result = CliRunner().invoke(
        main, ["plan", "--pages-per-day", "1000", "--model", MODEL, "--workload", str(path)]
    )
    assert result.exit_code == 2
    assert (
        "pages_per_prompt: found 5; allowed: 1: an engine is modelled with a page" in result.output
    )


@pytest.fixture(scope="module")
def site(build_site: BuildSite) -> BuiltSite:
    fields = _workload(batch_size=2).model_dump(mode="json", exclude_none=True)
    theme = MINIMAL.replace("theme: material", "theme: {name: material, font: false}")
    settings = theme.replace("dsocr]", "dsocr: {model: tiny, workloads: [w.yaml]}]")
    files = {"tiny/config.json": TINY_UNLIMITED, "w.yaml": yaml.safe_dump(fields)}
    built = build_site(settings, files)
    assert built.returncode == 0, built.output
    return built


@pytest.mark.browser
def test_pages_of_the_site_speak_of_prompts(chrome: Browser, site: BuiltSite) -> None:
    config = load_model_config(f"{site.folder}/tiny/")
    analysis = Analysis(config, _workload(batch_size=2), load_hardware("rtx-5090"))
    with served(site.site) as address:
        visitor = Visitor(chrome, address)
        page = visitor.open("dsocr/planner/")
        page.wait_for_function("document.querySelector('form.dsocr-planner').result")
        result = page.evaluate("document.querySelector('form.dsocr-planner').result")
        for name in ("ttft_ms", "pages_per_s"):
            assert result[name] == pytest.approx(getattr(analysis.latency, name), rel=1e-9), name
        assert result["largest_batch"] == analysis.largest_batch
        assert result["seq_len"] == analysis.plan.seq_len
        text = page.locator("main").inner_text()
        assert "Prompts in the batch" in text
        assert f"pages_per_prompt: {EACH}" in page.locator("[data-planner=yaml]").inner_text()
        workload = visitor.open("dsocr/workload/").locator("main").inner_text()
        assert "Image tokens per prompt" in workload
        assert "per page" not in workload
        memory = visitor.open("dsocr/memory/").locator("main").inner_text()
        assert "an engine is modelled with a page for each request" in memory
        assert visitor.errors == []
