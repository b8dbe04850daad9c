"""Raw HTML that is kept from Markdown and search comes back unchanged."""

from __future__ import annotations

import json

import markdown
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.build import sites
from mkdocs_dsocr.plugin_files import compact
from mkdocs_dsocr.site.blocks import as_text, as_words, description, put_back, taken_out, words
from tests.conftest import BuiltSite
from tests.sharing import shipped_result


def converted(text: str) -> str:
    html: str = markdown.Markdown(extensions=["toc", "tables", "fenced_code"]).convert(text)
    return html


def test_every_page_is_what_markdown_makes_of_it() -> None:
    result = shipped_result()
    _, pages, _ = sites.site_files(result, "directory")
    for name, page in pages.items():
        body = page.partition("\n---\n")[2] if page.startswith("---\n") else page
        text, blocks = taken_out(body)
        assert blocks, name
        assert put_back(converted(text), blocks) == converted(body), name


@given(st.lists(st.sampled_from(["<div>", "</div>", "<p>a</p>", "text", '<div class="x">', "\n"])))
def test_nothing_is_lost(pieces: list[str]) -> None:
    page = f'# Title\n\n<div class="dsocr">{"".join(pieces)}</div>\n\nafter\n'
    text, blocks = taken_out(page)
    assert put_back(text, blocks) == page


def test_a_block_is_its_words_while_search_reads_it() -> None:
    block = '<div class="dsocr"><td>SDPA &amp; softmax 1,024</td><math><mi>xy</mi></math></div>'
    content = as_words(f"<h1>T</h1>{block}", [block])
    assert words(block) == "SDPA softmax"
    assert content == '<h1>T</h1><p id="dsocr-block-0">SDPA softmax</p>'
    assert put_back(content, [block]) == f"<h1>T</h1>{block}"


def test_search_finds_what_stands_in_tables(offline_site: BuiltSite) -> None:
    index = json.loads(offline_site.read("search/search_index.json"))
    texts = [d["text"] for d in index["docs"] if d["location"].startswith("dsocr/layers/MoEGate")]
    assert "softmax" in " ".join(texts)
    assert "dsocr-block" not in offline_site.read("dsocr/layers/MoEGate/index.html")


MATH = (
    '<math alttext="2·N"><semantics><mrow><mn>2</mn><mi>N</mi></mrow>'
    '<annotation encoding="application/x-tex">2 \\cdot N</annotation></semantics></math>'
)


def test_formulas_are_text_once_for_what_makes_markdown() -> None:
    block = f'<div class="dsocr">{MATH} and <math alttext="d &lt; 3"><mi>d</mi></math> {MATH}</div>'
    assert as_text(block) == (
        '<div class="dsocr"><code>$2 \\cdot N$</code> and <code>$d &lt; 3$</code> '
        "<code>$2 \\cdot N$</code></div>"
    )


def test_a_description_is_the_lead_as_text() -> None:
    page = f'# T\n\n<p class="dsocr-lead dsocr-bad">One &lt;b&gt; <a href="x">two</a>\n{MATH}.</p>'
    assert description(page) == "One &lt;b&gt; two $2 \\cdot N$."
    assert description("# T\n") == ""
    assert len(description(f'<p class="dsocr-lead">{"word " * 500}</p>')) <= 300


def test_a_page_loses_indentation_but_not_that_of_code() -> None:
    page = "<nav>\n\n   <a>x</a>\n</nav>\n<pre>\n  y\n\n</pre>\n  <script>\n  z\n</script>"
    assert compact(page) == (
        "<nav>\n<a>x</a>\n</nav>\n<pre>\n  y\n\n</pre>\n<script>\n  z\n</script>"
    )
