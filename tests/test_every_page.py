"""Every page of the built site in a real Chromium; ``make test-all`` runs these."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from pypdf import PdfReader

from tests.browsing import Visitor, barriers, served
from tests.conftest import MINIMAL, BuildSite, BuiltSite

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CSS = ".md-copyright { color: #ffffffb3; }\n"
THEMES = {
    "instant": "{name: material, font: false, features: [navigation.instant]}",
    "mkdocs": "{name: mkdocs, highlightjs: false}",
    "readthedocs": "{name: readthedocs, highlightjs: false}",
}
LARGEST_PAGE = 120_000
LONGER = {"Attention"}
"""A page of three forms of twenty operations each is above it."""


@pytest.fixture(scope="module")
def paths(offline_site: BuiltSite) -> list[str]:
    files = sorted((offline_site.site / "dsocr").rglob("index.html"))
    return [f"{file.parent.relative_to(offline_site.site)}/" for file in files]


@pytest.mark.parametrize("dark", [False, True])
def test_no_page_has_a_barrier(chrome: Browser, address: str, paths: list[str], dark: bool) -> None:
    """WCAG 2.2 AA by axe-core; the theme's own sidebar and footer are the theme's."""
    visitor = Visitor(chrome, address, dark=dark)
    found = []
    for path in paths:
        found += [(path, *barrier) for barrier in barriers(visitor.open(path, "networkidle"))]
    assert found == []


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_every_page_fits_and_stays_at_home(
    chrome: Browser, address: str, paths: list[str], width: int
) -> None:
    visitor = Visitor(chrome, address, width=width)
    for path in paths:
        page = visitor.open(path, "networkidle")
        spill = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(spill) <= 0, path
    assert visitor.errors == []
    assert [r for r in visitor.requests if not r.startswith((address, "data:"))] == []


def test_layer_pages_are_light(offline_site: BuiltSite) -> None:
    folder = offline_site.site / "dsocr/layers"
    sizes = {file.parent.name: file.stat().st_size for file in folder.glob("*/index.html")}
    assert len(sizes) == 31
    assert {name for name, size in sizes.items() if size > LARGEST_PAGE} == LONGER
    assert max(sizes.values()) < 1.2 * LARGEST_PAGE


@pytest.fixture(scope="module", params=THEMES)
def themed(request: pytest.FixtureRequest, build_site: BuildSite) -> Iterator[str]:
    built = build_site(MINIMAL.replace("theme: material", f"theme: {THEMES[request.param]}"))
    assert built.returncode == 0, built.output
    with served(built.site) as url:
        yield url


def test_other_themes_show_the_same(chrome: Browser, themed: str) -> None:
    for width in (360, 1440):
        visitor = Visitor(chrome, themed, width=width)
        for path in (
            "dsocr/",
            "dsocr/hierarchy/",
            "dsocr/roofline/",
            "dsocr/layers/Linear/",
            "dsocr/planner/",
        ):
            page = visitor.open(path)
            spill = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(spill) <= 0, (path, width)
        page.wait_for_function("document.querySelector('form.dsocr-planner').result")
        assert page.locator("[data-planner=ttft_ms]").inner_text()
        assert visitor.errors == []


def test_pages_work_when_the_theme_replaces_content(chrome: Browser, build_site: BuildSite) -> None:
    # The theme replaces content of pages that the sitemap names by the site's own address.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yml = f"site_url: http://127.0.0.1:{port}/\n{MINIMAL}"
    built = build_site(yml.replace("theme: material", f"theme: {THEMES['instant']}"))
    with served(built.site, port) as url:
        visitor = Visitor(chrome, url)
        page = visitor.open("dsocr/", "networkidle")
        page.evaluate("window.stayed = true")
        page.locator("article a", has_text="Try others").click()
        page.wait_for_function("document.querySelector('form.dsocr-planner')?.result")
        page.locator(".md-nav a", has_text="Module tree").first.click()
        page.wait_for_selector("#dsocr-tree .dsocr-twist")
        assert page.evaluate("window.stayed")
        page.locator(".dsocr-graph a", has_text="LMHead").locator("rect").dispatch_event("click")
        page.wait_for_url("**/layers/LMHead/")
        assert page.locator("h1").inner_text() == "LMHead"
        assert visitor.errors == []


@pytest.mark.parametrize("path", ["dsocr/", "dsocr/layers/DeepseekV2MoE/", "dsocr/sweeps/"])
def test_a_page_prints(chrome: Browser, address: str, path: str) -> None:
    page = Visitor(chrome, address).open(path, "networkidle")
    heading = page.locator("h1").inner_text()
    reader = PdfReader(io.BytesIO(page.pdf(format="A4")))
    words = " ".join(" ".join(sheet.extract_text() for sheet in reader.pages).split())
    assert heading in words
    for title in page.locator("article h2").all_inner_texts():
        assert title.strip("¶ ") in words
