"""Exported pages under the real Zensical and Sphinx with MyST; ``nox -s matrix`` brings them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browsing import Visitor, served
from tests.test_export import export
from tests.test_site import _Links

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        importlib.util.find_spec("zensical") is None, reason="nox -s matrix brings it"
    ),
]
ZENSICAL = """
[project]
site_name = "s"
theme.font = false
[project.plugins.awesome-nav]
[project.markdown_extensions."mkdocs_dsocr.extension"]
model = "tiny/"
workload = "w.json"
"""
HOME = "# Home\n\nIt takes [dsocr: figure latency.ttft_ms].\n\n[dsocr: chart time]\n"
SPHINX = """
project = "s"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
"""


def test_zensical_builds_it_and_everything_works(tmp_path: Path, chrome: Browser) -> None:
    export(tmp_path, "zensical")
    (tmp_path / "docs/index.md").write_text(HOME)
    (tmp_path / "zensical.toml").write_text(ZENSICAL)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site/pages").rglob("*.html"):
        parser = _Links()
        parser.feed(page.read_text("utf-8"))
        for link in parser.links:
            target = link.partition("#")[0]
            if target and not target.startswith(("http", "data:", "/")):
                assert (page.parent / target).exists(), (page, link)
    home = (tmp_path / "site/index.html").read_text("utf-8")
    entries = re.findall(r'<a href="\./pages/([^"]*)" class="md-nav__link', home)
    shown = {
        p.parent.relative_to(tmp_path / "site/pages") for p in tmp_path.glob("site/pages/**/*.html")
    }
    assert {Path(entry) for entry in entries} == shown
    assert "Analytic model" in home
    with served(tmp_path / "site") as url:
        visitor = Visitor(chrome, url)
        page_ = visitor.open("", "networkidle")
        bar = page_.locator("svg.dsocr-band rect").first
        assert bar.evaluate("e => getComputedStyle(e).fill") == "rgb(29, 114, 184)"
        assert re.search(r"It takes [\d.]+ [µm]s\.", page_.inner_text("body"))
        page_ = visitor.open("pages/layers/DeepseekV2MoE/", "networkidle")
        written = (tmp_path / "docs/pages/layers/DeepseekV2MoE.md").read_text("utf-8")
        assert page_.locator("math").count() == written.count("<math") > 10
        assert page_.evaluate("document.fonts.check('16px \"STIX Two Math\"')")
        page_.locator(".dsocr-formulas a", has_text="MoEGate").first.click()
        page_.wait_for_url("**/layers/MoEGate/")
        page_ = visitor.open("pages/", "networkidle")
        chart = page_.locator("svg.dsocr-band rect").first
        assert chart.evaluate("e => getComputedStyle(e).fill") != "rgb(0, 0, 0)"
        page_ = visitor.open("pages/planner/")
        page_.wait_for_function("document.querySelector('form.dsocr-planner').result")
        assert visitor.errors == []


def test_sphinx_builds_it_without_a_warning(tmp_path: Path) -> None:
    pages = export(tmp_path, "myst")
    (pages / "conf.py").write_text(SPHINX)
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(pages), "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "out/layers/Linear.html").read_text("utf-8")
    assert r"\(2 \cdot N \cdot d_{in} \cdot d_{out}\)" in page
    assert '<img alt="' in (tmp_path / "out/index.html").read_text("utf-8")
