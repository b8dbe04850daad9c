"""Builders, themes, navigations and neighbours: strict builds, without a warning of ours.

``nox -s matrix`` runs these, under the oldest and the newest gen-files.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import TINY_CONFIG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs_literate_nav") is None, reason="nox -s matrix brings it"
    ),
]
NAVS: dict[str, tuple[dict[str, Any], list[Any], dict[str, str]]] = {
    "none": ({}, [], {}),
    "placeholder": ({"nav": [{"Home": "index.md"}, {"Model": "dsocr/"}]}, [], {}),
    "literate-nav": (
        {},
        [{"literate-nav": {"nav_file": "SUMMARY.md"}}],
        {"docs/SUMMARY.md": "* [Home](index.md)\n* [Model](dsocr/)\n* [More](more.md)\n"},
    ),
    "awesome-nav": (
        {},
        ["awesome-nav"],
        {"docs/.nav.yml": "nav:\n  - index.md\n  - Model: dsocr\n  - more.md\n"},
    ),
}
DSOCR = {"dsocr": {"device": "meta", "model": "./tiny/", "workloads": ["dsocr-tiny"]}}
GENERATES = """
import mkdocs_gen_files
with mkdocs_gen_files.open("more.md", "w") as page:
    print("# More", file=page)
    print("[Linear](dsocr/layers/Linear.md)", file=page)
"""


def _build(
    folder: Path, builder: str, settings: dict[str, Any], files: dict[str, str]
) -> tuple[int, str]:
    always = {
        "docs/index.md": "# Home\n",
        "gen.py": GENERATES,
        "tiny/config.json": TINY_CONFIG,
        "mkdocs.yml": yaml.safe_dump({"site_name": "s", **settings}, sort_keys=False),
    }
    for name, text in {**always, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", builder, "build", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _page(folder: Path, name: str) -> str:
    return (folder / "site/dsocr" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("builder", ["mkdocs", "properdocs"])
@pytest.mark.parametrize("theme", ["material", "mkdocs", "readthedocs"])
@pytest.mark.parametrize("nav", NAVS)
def test_a_strict_build(tmp_path: Path, builder: str, theme: str, nav: str) -> None:
    settings, plugins, files = NAVS[nav]
    plugins = [{"gen-files": {"scripts": ["gen.py"]}}, *plugins]
    beside = ["search", "macros", *(["tags"] if theme == "material" else [])]
    settings = {
        "theme": {"name": theme},
        "plugins": [*beside, DSOCR, *plugins, {"print-site": {"enabled": theme == "material"}}],
        **settings,
    }
    if nav == "placeholder":
        settings["nav"] = [*settings["nav"], {"More": "more.md"}]
    code, said = _build(tmp_path, builder, settings, files)
    assert code == 0, said
    assert not [line for line in said.splitlines() if "WARNING" in line and "dsocr" in line]
    page = _page(tmp_path, "layers/DeepseekV2MoE/index.html")
    assert "<math" in page
    assert "Formula and trace agree" in page
    home = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert 'href="dsocr/' in home
    assert "dsocr/layers/Linear/" in (tmp_path / "site/more/index.html").read_text("utf-8")
    if theme == "material":
        printed = (tmp_path / "site/print_page/index.html").read_text(encoding="utf-8")
        assert printed.count("<math") > 100


def test_neighbours_that_read_pages(tmp_path: Path) -> None:
    """Feeds have descriptions, ``llms-full.txt`` each formula once, the print page live links."""
    sections = {"Model": ["dsocr/layers/*.md"]}
    settings = {
        "site_url": "https://example.org/",
        "site_description": "d",
        "theme": {"name": "material"},
        "plugins": [
            DSOCR,
            {"rss": {"use_git": False}},
            {"llmstxt": {"full_output": "llms-full.txt", "sections": sections}},
            "print-site",
        ],
    }
    code, said = _build(tmp_path, "mkdocs", settings, {})
    assert code == 0, said
    site = tmp_path / "site"
    feed = (site / "feed_rss_created.xml").read_text(encoding="utf-8")
    assert "dsocr-block" not in feed
    text = (site / "llms-full.txt").read_text(encoding="utf-8")
    assert "<math" not in text
    assert "annotation" not in text
    assert "$2 \\cdot N \\cdot d_{in} \\cdot d_{out}$" in text
    page = _page(tmp_path, "layers/Linear/index.html")
    assert "<math" in page
    assert "dsocr-block" not in page
    printed = (site / "print_page/index.html").read_text(encoding="utf-8")
    assert "dsocr-block" not in printed


def test_static_i18n_is_refused_with_a_reason(tmp_path: Path) -> None:
    languages = [{"locale": "en", "default": True, "name": "English", "build": True}]
    i18n = {"i18n": {"docs_structure": "suffix", "languages": languages}}
    settings = {"theme": {"name": "material"}, "plugins": [i18n, DSOCR]}
    code, said = _build(tmp_path, "mkdocs", settings, {})
    assert code == 1
    assert "dsocr: mkdocs.yml: plugins: found i18n" in said
    assert "Traceback" not in said
