"""The look of the built site in a real Chromium: nothing cut, hidden, twice, or hard to read."""

from __future__ import annotations

import re
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from playwright.sync_api import Browser

from mkdocs_dsocr.inputs import Hardware, load_workload
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site.families import KINDS, REST
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.pages import assets
from tests.browsing import Visitor, faults
from tests.conftest import BuiltSite

SEARCHED = {
    "KV cache": ("LlamaFlashAttention2", "memory"),
    "expert": ("DeepseekV2MoE",),
    "router": ("MoEGate",),
    "RMSNorm": ("DeepseekV2RMSNorm",),
    "RoPE": ("LlamaRotaryEmbedding",),
    "SwiGLU": ("DeepseekV2MLP",),
    "attention": ("LlamaFlashAttention2", "Attention"),
    "window attention": ("Attention",),
    "SAM": ("ImageEncoderViT",),
    "CLIP": ("VitModel",),
    "projector": ("MlpProjector",),
    "LM head": ("LMHead",),
    "prefill": ("",),
    "decode": ("",),
    "TTFT": ("", "planner"),
    "roofline": ("roofline",),
    "launch overhead": ("", "workload"),
    "peak memory": ("memory",),
    "H100": ("gpus",),
    "fp8": ("planner", "gpus"),
}
"""What an expert types, and the pages that are among the first three results."""
PATHS = (
    "dsocr/",
    "dsocr/layers/DeepseekV2MoE/",
    "dsocr/layers/Conv2d/",
    "dsocr/hierarchy/",
    "dsocr/roofline/",
    "dsocr/planner/",
    "dsocr/sweeps/",
    "dsocr/gpus/",
    "dsocr/memory/",
    "dsocr/evidence/",
)
"""Pages of every kind; all of them are visited by ``test_every_page.py``."""
# Machado, Oliveira and Fernandes (2009), severity 1: protan, deutan, tritan; linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.072175],
    [0.0193339, 0.119192, 0.9503041],
]
WHITE = [0.95047, 1, 1.08883]
LEAST_DIFFERENCE = 15.0
"""CIE76; below about 2.3 nobody sees a difference."""


def _palette(dark: bool) -> dict[str, str]:
    """Return the colours of the style sheet by the name of their variable."""
    sheet = assets()["dsocr.css"].decode()
    light, _, slate = sheet.partition('[data-md-color-scheme="slate"]')
    return dict(
        re.findall(r"--dsocr-(\w+): (#\w{3,6});", slate.partition("}")[0] if dark else light)
    )


def _linear(colour: str) -> np.ndarray:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(np.maximum(np.array(TO_XYZ) @ linear / WHITE, 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _contrast(a: str, b: str) -> float:
    low, high = sorted(float(np.array(TO_XYZ)[1] @ _linear(c)) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("names", ["vision projector prefill decode", "0 1 2 3 4 5 6 7"])
def test_colours_differ_for_every_reader(names: str, dark: bool) -> None:
    palette = _palette(dark)
    for matrix in BLINDNESS.values():
        seen = {n: _lab(np.clip(matrix @ _linear(palette[n]), 0, 1)) for n in names.split()}
        for a, b in combinations(seen, 2):
            difference = float(np.linalg.norm(seen[a] - seen[b]))
            assert difference >= LEAST_DIFFERENCE, (a, b, difference)


@pytest.mark.parametrize("dark", [False, True])
def test_text_on_a_stages_colour_is_readable(dark: bool) -> None:
    palette = _palette(dark)
    for stage in ("vision", "projector", "prefill", "decode", "other"):
        assert _contrast(palette["ink"], palette[stage]) >= 4.5, stage


def test_a_family_has_one_colour(gpu: Hardware) -> None:
    assert len(set(KINDS.values())) == len(KINDS) == 8
    for model in ("deepseek-ocr-v1-base", "unlimited-ocr"):
        analysis = Analysis(load_model_config(model), load_workload("dsocr-tiny"), gpu)
        for page in layer_pages(analysis).values():
            rows = re.findall(r"<th>([^<]*)</th><td>.*?<rect class=\"(\S+)\"", page.by_family)
            assert all(KINDS.get(name, KINDS[REST]) == kind for name, kind in rows)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "dark"),
    [(390, False), (1280, True), pytest.param(1440, False, marks=pytest.mark.slow)],
)
def test_nothing_is_cut_or_hidden(chrome: Browser, address: str, width: int, dark: bool) -> None:
    visitor = Visitor(chrome, address, width=width, dark=dark)
    found = {path: faults(visitor.open(path, "networkidle"), width) for path in PATHS}
    assert {path: words for path, words in found.items() if words} == {}
    assert visitor.errors == []


@pytest.mark.browser
def test_a_layer_is_summed_up_on_one_screen(
    chrome: Browser, address: str, offline_site: BuiltSite
) -> None:
    visitor = Visitor(chrome, address)
    tops = {}
    for file in sorted((offline_site.site / "dsocr/layers").glob("*/index.html")):
        page = visitor.open(f"dsocr/layers/{file.parent.name}/")
        place = "document.querySelector('#why').getBoundingClientRect().top"
        tops[file.parent.name] = float(page.evaluate(place))
    assert len(tops) > 25
    assert median(tops.values()) <= 900
    assert max(tops.values()) <= 1500, tops


@pytest.mark.browser
def test_the_cost_by_stage_is_exact(chrome: Browser, address: str, gpu: Hardware) -> None:
    analysis = Analysis(
        load_model_config("deepseek-ocr-v1-base"), load_workload("dsocr-standard-v1"), gpu
    )
    layer = layer_pages(analysis)["DeepseekV2MoE"]
    page = Visitor(chrome, address).open("dsocr/layers/DeepseekV2MoE/")
    table = page.locator("#cost-by-stage ~ .dsocr-scroll table").first
    shown = table.locator("tbody tr").evaluate_all(
        "rows => rows.map((r) => [...r.querySelectorAll('[title]')].map((c) => c.title))"
    )
    expected = [
        [
            f"{row.calls:,}",
            f"{t.flops:,} FLOP",
            *(
                f"{n:,} B"
                for n in (t.io_bytes, t.weight_bytes, t.activation_bytes, t.kvcache_bytes)
            ),
        ]
        for totals in ("total", "own")
        for row in layer.stage_rows
        for t in [getattr(row, totals)]
    ]
    assert shown == expected
    own = sum(row.own.time_ms for row in layer.stage_rows)
    assert own == pytest.approx(sum(n.own.time_ms for n in layer.nodes), rel=1e-12)
    assert table.inner_text().count("own work only") == 1


@pytest.mark.browser
def test_the_navigation_is_short_and_ordered(chrome: Browser, address: str) -> None:
    """Also where ``mkdocs.yml`` has no ``nav``."""
    page = Visitor(chrome, address).open("dsocr/")
    ours = page.locator(".md-sidebar--primary .md-nav__item--section, .md-nav__item--active").last
    entries = page.evaluate(
        """() => [...document.querySelectorAll(".md-sidebar--primary li.md-nav__item")]
          .find((li) => li.querySelector(":scope > label")?.textContent.includes("Analytic model"))
          .querySelector("nav > ul").children.length"""
    )
    assert ours.count() == 1
    assert entries <= 8
    layers = page.evaluate(
        """() => [...document.querySelectorAll(".md-sidebar--primary a[href*='layers/']")]
          .map((a) => a.textContent.trim())"""
    )
    assert layers.index("DeepseekV2MoE") < layers.index("Conv2d")
    following = page.locator("link[rel=next]").get_attribute("href")
    assert following == "layers/"


@pytest.mark.browser
def test_search_finds_what_an_expert_types(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/")
    page.locator("input.md-search__input").click()
    page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    found = {}
    empty = page.locator(".md-search-result__meta", has_text="Type to start searching")
    for term in SEARCHED:
        page.keyboard.insert_text(term)
        page.keyboard.press("End")  # the one key: no answer to a part of the term
        page.locator(".md-search-result__item").first.wait_for()
        links = page.evaluate(
            """() => [...document.querySelectorAll(".md-search-result__item")].slice(0, 3)
              .map((li) => li.querySelector("a").pathname.replace(/\\/$/, "").split("/").pop())"""
        )
        found[term] = [name.replace("dsocr", "") for name in links]
        page.keyboard.press("Control+a")
        page.keyboard.press("Backspace")
        empty.wait_for()
    assert {t: f for t, f in found.items() if not set(f) & set(SEARCHED[t])} == {}


@pytest.mark.browser
def test_a_symbol_shows_its_meaning_and_its_uses(chrome: Browser, address: str) -> None:
    page = Visitor(chrome, address).open("dsocr/layers/DeepseekV2MLP/")
    symbol = page.locator(".dsocr-formulas math mi", has_text="h").first
    symbol.hover()
    assert page.locator(".dsocr-symbol").count() > 3
    title = symbol.evaluate("(mi) => mi.closest('td, p').title")
    assert title.startswith("h: ")
    assert title.endswith("1,280")
