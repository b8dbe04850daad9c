"""The site that four lines of ``mkdocs.yml`` make of the real model."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

from bs4 import BeautifulSoup

from mkdocs_dsocr import __version__
from tests.conftest import ROOT, BuiltSite

LARGEST_PAGE, LARGEST_TREE = 120_000, 200_000
LAYERS = [
    "Attention",
    "Block",
    "CLIPVisionEmbeddings",
    "Conv2d",
    "DeepseekOCRModel",
    "DeepseekV2DecoderLayer",
    "DeepseekV2MLP",
    "DeepseekV2MoE",
    "DeepseekV2RMSNorm",
    "Embedding",
    "GELU",
    "ImageEncoderViT",
    "LMHead",
    "LayerNorm",
    "LayerNorm2d",
    "Linear",
    "LlamaFlashAttention2",
    "LlamaRotaryEmbedding",
    "MLPBlock",
    "MlpProjector",
    "MoEGate",
    "ModuleList",
    "NoTPAttention",
    "NoTPFeedForward",
    "NoTPTransformer",
    "NoTPTransformerBlock",
    "PatchEmbed",
    "Sequential",
    "SiLU",
    "VitModel",
]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        for key in ("href", "src"):
            if values.get(key):
                self.links.append(str(values[key]))


def test_four_lines_make_every_page(material_site: BuiltSite) -> None:
    for name in LAYERS:
        page = material_site.read(f"dsocr/layers/{name}/index.html")
        assert re.search(rf"<h1[^>]*>{name}", page)
        for heading in ("Why", "Operations and formulas", "Cost in this model"):
            assert heading in page
        assert "Formula and trace agree" in page
    pages = ("", "hierarchy", "verification", "workload", "artifacts", "layers", "evidence")
    for page_name in (f"{name}/".lstrip("/") for name in pages):
        assert material_site.read(f"dsocr/{page_name}index.html")
    assert "All formulas agree with the trace." in material_site.read(
        "dsocr/verification/index.html"
    )
    assert (material_site.site / "dsocr/artifacts/dsocr-standard-v1/report.json").is_file()
    unique = material_site.read("dsocr/artifacts/static/torchinfo-unique-layers.md")
    assert unique.startswith("# 29 module classes")


def test_every_link_of_every_page_resolves(material_site: BuiltSite) -> None:
    checked = 0
    for page in (material_site.site / "dsocr").rglob("*.html"):
        parser = _Links()
        parser.feed(page.read_text(encoding="utf-8"))
        for link in parser.links:
            target, _, anchor = link.partition("#")
            if target.startswith(("http:", "https:", "data:")):
                continue
            path = (page.parent / target) if target else page
            path = path / "index.html" if path.is_dir() else path
            assert path.is_file(), (page, link)
            if not target and anchor:
                assert anchor in parser.ids, (page, link)
            checked += 1
    assert checked > 1000


def test_the_default_site_uses_the_trace_that_ships_and_says_so(material_site: BuiltSite) -> None:
    assert f"dsocr: trace shipped with {__version__}, checked in CI" in material_site.output
    assert "importing torch" not in material_site.output
    pages = {n: material_site.read(f"dsocr/{n}/index.html") for n in ("evidence", "verification")}
    for page in pages.values():
        assert f"formulas equal the trace shipped with {__version__} in" in page
        assert "in this build" not in page.replace("formulas of this build", "")
    assert f"compared with a trace shipped with {__version__}, checked in CI" in pages["evidence"]
    assert f"(trace shipped with {__version__}, checked in CI)" in pages["verification"]


def test_pages_are_light_and_work_under_a_strict_content_policy(material_site: BuiltSite) -> None:
    """A strict policy allows styles and scripts from files only."""
    folder = material_site.site / "dsocr"
    for file in folder.rglob("*.html"):
        page = file.read_text(encoding="utf-8")
        is_tree = file.parent.name == "hierarchy"
        assert len(page.encode()) <= (LARGEST_TREE if is_tree else LARGEST_PAGE), file
        article = page.partition("<article")[2].partition("</article>")[0]
        assert len(article) > 500, file
        assert not re.search(r"<[^>]*\s(style|on[a-z]+)=|<style", article), file


def test_sentences_are_apart(material_site: BuiltSite) -> None:
    """A template's line break is no space where a block ends the line."""
    joined = re.compile(r"[a-z)][.;][A-Z][a-z]* [a-z]+")
    found = []
    for file in sorted((material_site.site / "dsocr").rglob("index.html")):
        page = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        found += [m[0] for p in page.find_all("p") for m in joined.finditer(p.get_text())]
    assert found == []


def test_no_path_of_this_machine_is_published(material_site: BuiltSite, installed: Path) -> None:
    for path in (material_site.site / "dsocr").rglob("*"):
        if path.suffix in {".html", ".json", ".yaml", ".csv", ".md", ".txt"}:
            text = path.read_text(encoding="utf-8")
            assert not any(str(p) in text for p in (ROOT, installed, material_site.folder)), path


def test_the_heaviest_page_loads_little_of_ours(material_site: BuiltSite) -> None:
    folder = material_site.site / "dsocr"
    files = [*(folder / "assets").iterdir(), folder / "artifacts/static/formulas.js"]
    assert len(files) >= 5
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= 200_000


def test_the_search_index_is_light(material_site: BuiltSite) -> None:
    index = (material_site.site / "search/search_index.json").read_bytes()
    assert b"DeepseekV2MoE" in index
    assert len(gzip.compress(index)) <= 200_000
