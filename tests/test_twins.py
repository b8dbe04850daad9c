"""Markdown twins: the words and numbers of a page without its layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkdocs_dsocr.site.links import LinkStyle
from mkdocs_dsocr.site.markdown import converted
from mkdocs_dsocr.site.twins import listed, twins
from tests.conftest import BuiltSite

PAGES = {
    "index.md": """---
title: The model
---

# The model

<p class="dsocr-lead">It takes <b>5 ms</b> on <a href="workload/">this workload</a>.</p>

<div class="dsocr">
<svg class="dsocr-chart" role="img"><title>Time</title><desc>decode: 4 ms</desc></svg>
<p class="dsocr-legend"><span class="dsocr-key dsocr-c0"></span> decode</p>
<table><thead><tr><th>operation</th><th class="n">FLOPs</th></tr></thead>
<tr id="row-1"><td><a href="#row-1">x W</a></td><td class="n"><math alttext="2·N"><semantics><mrow>
<mn>2</mn><mo>·</mo><mi>N</mi></mrow>
<annotation encoding="application/x-tex">2 \\cdot N</annotation>
</semantics></math></td></tr></table>
</div>
""",
    "layers/Linear.md": "---\ntitle: Linear\n---\n\n# Linear\n\nAn affine map.\n",
}


def test_a_twin_has_words_tables_and_formulas_and_no_layout() -> None:
    page = twins(PAGES, "directory")["index.html.md"]
    assert page.startswith("# The model\n\nIt takes **5 ms** on [this workload](workload/).")
    assert "Time: decode: 4 ms" in page
    assert "| operation | FLOPs |\n| --- | ---: |\n| x W | $2 \\cdot N$ |" in page
    assert not re.search(r"<\w|images/", page)


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("directory", {"index.html.md", "layers/Linear/index.html.md", "llms.txt"}),
        ("html", {"index.html.md", "layers/Linear.html.md", "llms.txt"}),
    ],
)
def test_a_twin_is_at_the_address_of_its_page(style: LinkStyle, names: set[str]) -> None:
    found = twins(PAGES, style)
    assert set(found) == names
    assert found["llms.txt"].startswith("# The model\n\n> It takes **5 ms** on this workload.\n")
    assert f"## Layers\n\n- [Linear]({sorted(names)[1]})" in found["llms.txt"]


def test_a_list_without_sections_is_a_heading_and_a_summary() -> None:
    assert listed("Site", "What it is", {}) == "# Site\n\n> What it is\n"


@pytest.mark.slow
def test_twins_of_a_site_have_its_numbers_and_lead_somewhere(offline_site: BuiltSite) -> None:
    folder: Path = offline_site.site / "dsocr"
    checked = 0
    for twin in folder.rglob("*.html.md"):
        text = "".join(twin.read_text("utf-8").split("```")[::2])
        tags = set(re.findall(r"(?<!\\)</?([a-z0-9]+)", re.sub(r"`[^`]*`", "", text)))
        assert tags <= {"br", "details", "summary", "sub", "sup"}, twin
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert (twin.parent / target).exists() or "://" in target, (twin, target)
            checked += 1
    assert checked > 200
    page = (folder / "layers/Linear/index.html.md").read_text("utf-8")
    assert r"$2 \cdot N \cdot d_{in} \cdot d_{out}$" in page


def test_a_long_run_of_blanks_takes_no_time() -> None:
    """In proportion to its length: the square of it was minutes."""
    text = converted(f"<p>a{' ' * 300_000}b</p>", 1, "", quotes_formulas=False)
    assert text == "a b"
    lines = converted("<p>a \n\t\r\n b</p>", 1, "", quotes_formulas=False)
    assert lines == "a\nb"
