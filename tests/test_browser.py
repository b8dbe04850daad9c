"""The built site in a real Chromium: no error, no request elsewhere, nothing that spills."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser

from mkdocs_dsocr.cost.batches import middle_step
from mkdocs_dsocr.inputs import ModelConfig, load_hardware, load_workload
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units
from tests.browsing import Visitor, faults, resized

pytestmark = pytest.mark.browser
PAGES = (
    "dsocr/",
    "dsocr/layers/DeepseekV2MoE/",
    "dsocr/hierarchy/",
    "dsocr/roofline/",
    "dsocr/memory/",
    "dsocr/planner/",
    "dsocr/sweeps/",
    "dsocr/gpus/",
    "dsocr/verification/",
)
"""Pages of every kind; all of them are visited by ``test_every_page.py``."""


@pytest.mark.parametrize("dark", [False, True])
def test_no_error_and_no_request_to_another_host(chrome: Browser, address: str, dark: bool) -> None:
    visitor = Visitor(chrome, address, dark=dark)
    # The scheme is the theme's: a few pages show it.
    for path in PAGES[:3] if dark else PAGES:
        visitor.open(path, "networkidle")
    assert visitor.errors == []
    assert [r for r in visitor.requests if not r.startswith((address, "data:"))] == []


@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_never_scrolls_sideways(chrome: Browser, address: str, width: int) -> None:
    visitor = Visitor(chrome, address, width=width)
    for path in PAGES:
        page = visitor.open(path)
        spill = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert spill <= 0, (path, width, spill)


def test_no_chart_is_wider_than_its_frame(chrome: Browser, address: str) -> None:
    visitor = Visitor(chrome, address)
    for path in ("dsocr/sweeps/", "dsocr/memory/"):
        page = visitor.open(path)
        assert page.locator("svg.dsocr-plot").count() >= 2
        for width in (360, 390, 768, 1280, 1440):
            assert faults(resized(page, width), width) == [], (path, width)


def test_a_selector_shows_the_rows_of_one_gpu(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/gpus/")
    rows = page.locator("#dsocr-scenarios tbody tr")
    assert rows.count() == 2
    page.select_option("form[data-dsocr-filters] select[name=gpu]", "h100-sxm")
    assert [row.get_attribute("data-gpu") for row in rows.all() if row.is_visible()] == ["h100-sxm"]
    assert page.locator(".dsocr-choice output").inner_text() == "1 of 2"
    link = page.locator("#dsocr-scenarios tr:visible a").get_attribute("href")
    assert link is not None
    summary = page.request.get(page.url + link).json()
    assert summary["hardware_id"] == "h100-sxm"
    page.select_option("form[data-dsocr-filters] select[name=gpu]", "")
    assert all(row.is_visible() for row in rows.all())


def test_formulas_are_typeset_with_the_math_font(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/layers/DeepseekV2MoE/")
    formulas = page.locator("math")
    assert formulas.count() > 15
    assert all(f.get_attribute("alttext") for f in formulas.all())
    assert page.evaluate("document.fonts.check('16px \"STIX Two Math\"')")
    # The LaTeX beside each formula is for copying, not for the eye.
    assert page.locator("annotation").first.is_hidden()
    box = formulas.first.bounding_box()
    assert box is not None
    assert box["height"] > 5


def test_a_layer_page_answers_and_links(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/layers/DeepseekV2MoE/")
    assert page.locator("h1").inner_text().startswith("DeepseekV2MoE")
    assert "Formula and trace agree" in page.locator("article").inner_text()
    page.locator(".dsocr-formulas a", has_text="MoEGate").first.click()
    page.wait_for_url("**/layers/MoEGate/")
    assert page.locator("h1").inner_text().startswith("MoEGate")


def test_the_value_beside_a_formula_is_the_formulas_value(chrome: Browser, address: str) -> None:
    """What a reader can compute from the numbers on the page is the value on the page."""
    page = Visitor(chrome, address).open("dsocr/layers/LlamaFlashAttention2/")
    rows = page.locator(".dsocr-formulas tbody tr:not(.child)").all()
    checked = 0
    for row in rows:
        cell = row.locator("td:nth-last-child(2)")
        html = cell.evaluate("cell => (cell.querySelector('div:last-child') ?? cell).innerHTML")
        if row.locator("th").count() or row.locator("[colspan]").count() or not html:
            continue
        html = re.sub("^<i>as .*?</i>: ", "", html)
        value = (row.locator("td.n").last.text_content() or "").split()[0].replace(",", "")
        code = re.sub("<sup>(.*?)</sup>", r"**\1", html).replace(",", "").replace("·", "*")
        code = code.replace("−", "-").replace(" / ", "//")
        assert eval(code) == int(value), html
        checked += 1
    assert checked >= 50


def test_search_finds_a_layer(chrome: Browser, address: str) -> None:
    visitor = Visitor(chrome, address)
    page = visitor.open("dsocr/")
    # What is typed before the index is there is lost.
    page.locator("input.md-search__input").click()
    page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    page.keyboard.type("LlamaRotaryEmbedding")
    found = page.locator(".md-search-result__item", has_text="LlamaRotaryEmbedding")
    found.first.wait_for()  # earlier letters have their own answers
    assert visitor.errors == []


def test_charts_have_a_title_and_a_description(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/")
    charts = page.locator(".dsocr svg[role]")
    assert charts.count() >= 10
    assert all(chart.get_attribute("aria-label") for chart in charts.all())
    for chart in page.locator("svg.dsocr-architecture, svg.dsocr-icicle:visible").all():
        assert chart.locator("desc").text_content()
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 300


def test_the_tree_opens_by_keyboard_and_finds_names(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/hierarchy/")
    rows = page.locator("#dsocr-tree tbody tr:visible")
    few = rows.count()
    every = page.locator("#dsocr-tree tbody tr").count()
    assert few < 30 < every
    page.locator("#dsocr-tree .dsocr-twist").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert rows.count() > few
    page.keyboard.press("ArrowLeft")
    assert rows.count() == few
    page.fill("[data-dsocr-tree] input", "rmsnorm")
    shown = rows.all_inner_texts()
    assert any("DeepseekV2RMSNorm" in text for text in shown)
    assert not any("Conv2d" in text for text in shown)
    page.fill("[data-dsocr-tree] input", "")
    page.get_by_role("button", name="open all").click()
    assert rows.count() == every


def test_a_column_sorts_and_a_price_makes_a_cost(chrome: Browser, address: str) -> None:
    visitor = Visitor(chrome, address)
    page = visitor.open("dsocr/gpus/")
    page.get_by_role("button", name="memory").click()
    headings = page.locator("[data-dsocr-cost] thead th").all_inner_texts()
    column = 1 + next(i for i, text in enumerate(headings) if text.startswith("memory"))
    numbers = [
        float(cell.get_attribute("data-value") or "nan")
        for cell in page.locator(f"[data-dsocr-cost] tbody tr td:nth-child({column})").all()
        if cell.get_attribute("data-value")
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 15
    row = page.locator("[data-dsocr-cost] tbody tr", has_text="H100 SXM5")
    rate = float(row.locator("td:nth-child(2)").get_attribute("data-value") or "")
    row.locator("input").first.fill("3.5")
    cost = float(row.locator("td[data-cost=cost]").inner_text())
    assert cost == pytest.approx(3.5 * 1000 / rate / 3600, rel=1e-2)
    assert visitor.open("dsocr/gpus/").locator("[name=price-h100-sxm]").input_value() == "3.5"


def test_a_point_of_the_roofline_names_and_leads_to_its_layer(
    chrome: Browser, address: str
) -> None:
    page = Visitor(chrome, address).open("dsocr/roofline/")
    point = page.locator(".dsocr-roofline a:visible", has_text="LMHead in decode")
    assert "FLOPs per byte" in (point.locator("title").text_content() or "")
    point.locator("circle").dispatch_event("click")
    page.wait_for_url("**/layers/LMHead/")


def test_a_box_of_the_flow_leads_to_its_row(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/layers/LlamaFlashAttention2/")
    page.locator("summary", has_text="Dataflow").first.click()
    links = page.locator(".dsocr-flow a").all()
    link = next(a for a in links if (a.get_attribute("href") or "").startswith("#"))
    target = (link.get_attribute("href") or "")[1:]
    link.locator("rect").dispatch_event("click")
    page.wait_for_url(f"**#{target}")
    assert page.locator(f"tr[id='{target}']").is_visible()


def test_the_icicle_switches_without_scripts(chrome: Browser, address: str) -> None:
    page = chrome.new_context(java_script_enabled=False).new_page()
    page.goto(address + "dsocr/")
    pictures = page.locator(".dsocr-icicle")
    assert [p.is_visible() for p in pictures.all()] == [True, False, False, False]
    page.locator("label[for=dsocr-icicle-3]").click()
    assert [p.is_visible() for p in pictures.all()] == [False, False, True, False]


def test_a_slider_moves_the_points_of_decode_to_another_batch(
    chrome: Browser, address: str, config: ModelConfig
) -> None:
    """Each point is one step of that batch by the formulas; the axes stay."""
    visitor = Visitor(chrome, address)
    page = visitor.open("dsocr/roofline/")
    slider = page.locator(".dsocr-slider input")
    axes = page.locator("svg.dsocr-roofline").last.locator("line, .dsocr-roof").count()
    point = page.locator("svg.dsocr-roofline a:visible", has_text="Linear in decode")
    before = point.locator("title").text_content()
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.locator(".dsocr-slider output").inner_text() == "16"
    assert point.count() == 1
    after = point.locator("title").text_content() or ""
    assert after != before
    analysis = Analysis(config, load_workload("dsocr-standard-v1"), load_hardware("rtx-5090"))
    own = middle_step(analysis.cost, analysis.hardware, 16)["Linear"]
    assert f"{units.significant(own.flops / own.io_bytes)} FLOPs per byte" in after
    assert page.locator("svg.dsocr-roofline").last.locator("line, .dsocr-roof").count() == axes
    slider.press("Home")
    assert point.locator("title").text_content() == before
    assert faults(page, 1440) == []
    assert visitor.errors == []
