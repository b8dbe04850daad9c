"""Every page of the built site in a real Chromium; ``make test-all`` runs these."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from tests.browsing import Visitor, barriers, faults, resized, served
from tests.conftest import MINIMAL, ROOT, BuildSite, BuiltSite
from tests.sharing import made_once
from tests.test_site import LARGEST_PAGE, LARGEST_TREE

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CSS = ".md-copyright { color: #ffffffb3; }\n"
PARTS = 4
"""The pages of a site are shared out, so that workers end at about the same time."""
WINDOWS = {"default": (390, 360, 1280), "slate": (1440, 768)}
"""Material's colour schemes, light and dark, and the widths in which a page is looked at."""
THEMES = {
    "instant": "{name: material, font: false, features: [navigation.instant]}",
    "mkdocs": "{name: mkdocs, highlightjs: false}",
    "readthedocs": "{name: readthedocs, highlightjs: false}",
}


@pytest.fixture(scope="module", params=["default", "own"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a default site, and the project's own with all its models and documents."""
    if request.param == "default":
        built: BuiltSite = request.getfixturevalue("offline_site")
        return built.site

    def build() -> Path:
        folder = tmp_path_factory.mktemp("own")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return made_once(tmp_path_factory, "own_site", build)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_is_sound(
    request: pytest.FixtureRequest, chrome: Browser, site: Path, part: int
) -> None:
    """WCAG 2.2 AA by axe-core, a sound look, no error, and no request to another host.

    The theme's own sidebar and footer are the theme's.
    """
    has_schemes = request.node.callspec.params["site"] == "own"
    files = sorted(site.rglob("index.html"))
    assert len(files) > 40
    found: list[tuple[Any, ...]] = []
    with served(site) as url:
        visitor = Visitor(chrome, url, width=WINDOWS["default"][0])
        for file in files[part::PARTS]:
            path = f"{file.parent.relative_to(site)}/".removeprefix("./")
            page = visitor.open(path, "networkidle")
            for scheme, widths in WINDOWS.items():
                if has_schemes:
                    choose(page, scheme)
                for width in widths:
                    seen = faults(resized(page, width), width)
                    found += [(path, scheme, width, fault) for fault in seen]
                    if width == widths[0]:
                        # What is collapsed is open after it was looked at.
                        found += [(path, scheme, *barrier) for barrier in barriers(page)]
            resized(page, WINDOWS["default"][0])
        assert visitor.errors == []
        assert [r for r in visitor.requests if not r.startswith((url, "data:"))] == []
    assert found == []


def choose(page: Page, scheme: str) -> None:
    """Show a page in a colour scheme, as Material's switch does."""
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.evaluate("(scheme) => { document.body.dataset.mdColorScheme = scheme; }", scheme)
    assert (page.evaluate(ground) == before) == (scheme == "default"), scheme


def test_layer_pages_and_overviews_are_light(site: Path) -> None:
    pages = [f for f in site.rglob("*.html") if f.parent.parent.name == "layers"]
    pages += [site / "dsocr/index.html", site / "dsocr/hierarchy/index.html"]
    assert len(pages) > 30
    for page in pages:
        largest = LARGEST_TREE if page.parent.name == "hierarchy" else LARGEST_PAGE
        assert page.stat().st_size <= largest, page


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
        # Its group in the navigation is closed.
        page.locator(".md-nav a", has_text="Module tree").first.dispatch_event("click")
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
