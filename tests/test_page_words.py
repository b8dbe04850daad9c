"""Sentences of pages: they are about the GPU and the model that are shown."""

from __future__ import annotations

import dataclasses

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.sites import site_of
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.inputs import Hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import compare
from mkdocs_dsocr.report.models import compare_models
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.pages import build_pages
from mkdocs_dsocr.site.studies import Studies, tables
from mkdocs_dsocr.site.units import integer

GPUS = ("rtx-5090", "h100-sxm")


@pytest.fixture(scope="module")
def built() -> Site:
    """The site of one workload and two GPUs."""
    analyses = pipeline.analyse(pipeline.Settings(hardware=GPUS))
    static = trace_model(analyses, "meta", lambda _: None)
    return site_of(pipeline.complete(analyses, static), None, (), has_switch=True)


@pytest.fixture(scope="module")
def switched(built: Site) -> Site:
    """The same, switched to the second GPU."""
    return dataclasses.replace(built, shown=(0, 1))


def page(site: Site, path: str) -> str:
    return build_pages(site, only={path})[path]


def test_the_largest_batch_is_of_the_gpu_that_is_shown(switched: Site) -> None:
    first, second = (analysis.largest_batch for analysis in switched.analyses[0])
    assert second is not None
    assert first != second
    words = f"The largest batch that fits has {integer(second)} pages."
    assert words in page(switched, "memory.md").partition("## By stage")[0]


def test_changes_are_of_the_pair_that_the_baseline_is_compared_with(
    built: Site, switched: Site
) -> None:
    report = built.main.report
    layers = [x.model_copy(update={"total_time_ms": x.total_time_ms / 2}) for x in report.layers]
    before = report.model_copy(update={"layers": layers})
    changes = compare(before, report)
    for site, is_shown in ((built, True), (switched, False)):
        found = page(dataclasses.replace(site, changes=changes), "layers/Linear.md")
        assert ("Changed since the baseline" in found) == is_shown


def test_charts_beyond_the_positions_of_a_model_say_so(built: Site, gpu: Hardware) -> None:
    main = built.main
    models = compare_models(main, [load_model_config("unlimited-ocr")])
    studies = Studies(main, tables(main, [gpu]))
    site = dataclasses.replace(built, studies=studies, models=models)
    assert "The model has 8,192 positions" in page(site, "sweeps.md")
    words = "deepseek-ocr-v1-base has 8,192, unlimited-ocr has 32,768."
    assert words in page(site, "models.md")


@pytest.mark.parametrize(
    ("model", "workload", "has_loop"),
    [
        ("deepseek-ocr-v1-base", "dsocr-standard-v1", True),
        ("deepseek-ocr-2", "dsocr2-a4", False),
        ("unlimited-ocr", "dsocr-standard-v1", False),
    ],
)
def test_a_loop_over_experts_is_named_where_the_code_has_one(
    built: Site, gpu: Hardware, model: str, workload: str, has_loop: bool
) -> None:
    main = Analysis(load_model_config(model), load_workload(workload), gpu)
    assert main.launches_experts == has_loop
    studies = Studies(main, tables(main, [gpu]))
    site = dataclasses.replace(built, analyses=((main,),), studies=studies)
    for path in ("index.md", "planner.md"):
        assert ("in place of the loop over experts" in page(site, path)) == has_loop, path
