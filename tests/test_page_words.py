"""Pages that a reader switched to another GPU: what they say is of that GPU."""

from __future__ import annotations

import dataclasses

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.sites import site_of
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.pages import build_pages
from mkdocs_dsocr.site.units import integer

GPUS = ("rtx-5090", "h100-sxm")


@pytest.fixture(scope="module")
def switched() -> Site:
    """The site of two GPUs, switched to the second one."""
    analyses = pipeline.analyse(pipeline.Settings(hardware=GPUS))
    static = trace_model(analyses, "meta", lambda _: None)
    site = site_of(pipeline.complete(analyses, static), None, (), has_switch=True)
    return dataclasses.replace(site, shown=(0, 1))


def page(site: Site, path: str) -> str:
    return build_pages(site, only={path})[path]


def test_the_largest_batch_is_of_the_gpu_that_is_shown(switched: Site) -> None:
    first, second = (analysis.largest_batch for analysis in switched.analyses[0])
    assert first != second
    words = f"The largest batch that fits has {integer(second)} pages."
    assert words in page(switched, "memory.md").partition("## By stage")[0]
