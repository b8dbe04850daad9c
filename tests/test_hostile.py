"""Hostile text in every field that reaches a page: shown as text, and nothing of it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from playwright.sync_api import Browser
from safetensors.numpy import save

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.report import report_files
from tests.browsing import Visitor, served
from tests.conftest import ROOT, TINY_CONFIG, BuildSite, BuiltSite, measured_on_cpu

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RUNS = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
HOSTILE = (
    f"""{RUNS}"><svg onload="window.ran = 3"></svg> --></script><script>window.ran = 4</script>
</td></table></div>

# A heading

[a](javascript:window.ran=5) {{{{ 7 * 7 }}}} {{% raw %}} {{: onclick="window.ran=6" }}
`code` *a*|b $x$ \u202egnp.exe \x1b[31m \x00 """
    + "ä" * 1000
)
LONG = "n" * 10_000
SHORT = HOSTILE[:180]
YML = """
site_name: s
theme: {name: material, font: false}
markdown_extensions: [attr_list, md_in_html, pymdownx.superfences]
plugins:
  - search
  - macros
  - dsocr:
      model: ./model/
      workloads: [w.yaml]
      hardware: [h.yaml, h100-sxm]
      measurements: [m.json]
      reviews: r.yaml
      baseline: before.json
"""
SEEN = "<script>window.ran = 1</script>"


def _shipped(place: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "data" / place).read_text(encoding="utf-8"))
    return content


def _gpu(text: str) -> dict[str, Any]:
    content = _shipped("hardware/rtx-5090.yaml")
    kernels = [{**kernel, "source": text} for kernel in content.pop("kernels")]
    sources = {k: {**v, "source": text} for k, v in content.items() if isinstance(v, dict)}
    others = dict.fromkeys((k for k in content if k.endswith("_source")), text)
    return {**content, **sources, **others, "kernels": kernels, "hardware_id": "h", "name": text}


def _write(folder: Path) -> dict[str, str]:
    """Return the files of a site whose every free text is hostile."""
    config = json.loads(TINY_CONFIG) | {"_name_or_path": HOSTILE}
    config["quantization_config"] = {"quant_method": HOSTILE}
    workload = {**_shipped("workloads/dsocr-tiny.yaml"), "profile_id": "w", "description": HOSTILE}
    (folder / "model").mkdir()
    files = {
        "model/config.json": json.dumps(config),
        "w.yaml": json.dumps(workload),
        "h.yaml": json.dumps(_gpu(HOSTILE)),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = pipeline.Settings("./model/", ("w.yaml",), ("h.yaml",), base=folder)
    analyses = pipeline.analyse(settings)
    measured = json.loads(measured_on_cpu(analyses))
    measured |= {"device": SHORT, "measured_at": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    files["m.json"] = json.dumps(measured)
    files["h.yaml"] = json.dumps({**_gpu(HOSTILE), "device_names": [SHORT]})
    before = json.loads(report_files(analyses[0][0])["report.json"])
    before["hardware"] |= {"name": HOSTILE, "memory_bytes": 10**9}
    before["report_id"] = HOSTILE
    before["layers"][0]["class_name"] = HOSTILE
    files["before.json"] = json.dumps(before)
    entry = {
        "status": "questioned",
        "by": SHORT,
        "date": "2026-01-01",
        "note": HOSTILE,
        "fingerprint": "0123456789abcdef",
        "reviewed": {HOSTILE: HOSTILE},
    }
    files["r.yaml"] = yaml.safe_dump({"layers": {"Linear": entry, "GELU": entry}})
    return files


@pytest.fixture(scope="module")
def hostile(build_site: BuildSite, tmp_path_factory: pytest.TempPathFactory) -> BuiltSite:
    files = _write(tmp_path_factory.mktemp("hostile"))
    built = build_site(YML, files, strict=False)
    assert built.returncode == 0, built.output
    return built


@pytest.fixture(scope="module")
def hostile_address(hostile: BuiltSite) -> Iterator[str]:
    with served(hostile.site) as url:
        yield url


def test_hostile_text_is_shown_and_does_nothing(
    chrome: Browser, hostile: BuiltSite, hostile_address: str
) -> None:
    pages = sorted((hostile.site / "dsocr").rglob("index.html"))
    assert len(pages) > 40
    seen: set[str] = set()
    spilt: list[tuple[str, int]] = []
    for width in (360, 1440):
        visitor = Visitor(chrome, hostile_address, width=width)
        for file in pages:
            path = f"{file.parent.relative_to(hostile.site)}/"
            page = visitor.open(path, "networkidle")
            assert page.evaluate("window.ran") is None, path
            assert "A heading" not in page.locator("h1").all_inner_texts(), path
            assert page.locator("a[href^='javascript']").count() == 0, path
            assert page.locator("article svg[onload], article img[onerror]").count() == 0, path
            spill = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            if page.evaluate(spill) > 0:
                spilt.append((path, width))
            words = page.locator("article").inner_text()
            assert "\u202e" not in words, path
            if SEEN in words:
                seen.add(path)
            assert page.locator("footer").count(), path  # the page's end is still its own
        assert visitor.errors == []
    assert spilt == []
    for path in ("", "workload/", "changes/", "review/", "measured/", "layers/Linear/", "gpus/"):
        assert f"dsocr/{path}" in seen, path


def test_long_names_break_no_page(chrome: Browser, build_site: BuildSite) -> None:
    """What is too long for a field is refused; what a checkpoint holds may be of any length."""
    names = {LONG: np.zeros(1, np.float32), HOSTILE: np.zeros(1, np.float32)}
    yml = YML.replace("./model/", "./tiny/").partition("      workloads")[0]
    built = build_site(yml, {"tiny/model.safetensors": save(names)}, strict=False)
    assert built.returncode == 0, built.output
    with served(built.site) as url:
        visitor = Visitor(chrome, url, width=360)
        page = visitor.open("dsocr/checkpoint/", "networkidle")
        assert page.evaluate("window.ran") is None
        assert SEEN in page.locator("article").inner_text()
        spill = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(spill) <= 0
        assert visitor.errors == []
