"""The switch of workload and GPU: every page becomes the page of a site that was built for them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.switching import MOST_PAIRS, can_switch
from tests.browsing import served
from tests.conftest import BuildSite, BuiltSite

pytestmark = pytest.mark.browser
WORKLOADS = ("dsocr-standard-v1", "dsocr-snapshot-2x2")
GPUS = ("rtx-5090", "h100-sxm")
QUICK = ("", "memory/", "layers/Attention/")
SLOW = (
    *("layers/", "roofline/", "hierarchy/", "sweeps/", "gpus/", "workload/"),
    *(f"layers/{name}/" for name in ("DeepseekOCRModel", "Linear", "DeepseekV2MoE", "ModuleList")),
)
EVERY = (*QUICK, *(pytest.param(path, marks=pytest.mark.slow) for path in SLOW))
YML = """\
site_name: s
theme: {{name: material, font: false}}
plugins:
  - dsocr: {{model: tiny, workloads: [{}], hardware: [{}]}}
"""


@pytest.fixture(scope="module")
def both(build_site: BuildSite) -> list[BuiltSite]:
    """Two sites of the same workloads and GPUs: each shows another pair where nobody chose."""
    built = [
        build_site(YML.format(", ".join(workloads), ", ".join(gpus)))
        for workloads, gpus in ((WORKLOADS, GPUS), (WORKLOADS[::-1], GPUS[::-1]))
    ]
    assert not any(one.returncode for one in built), built[0].output
    return built


@pytest.fixture(scope="module")
def addresses(both: list[BuiltSite]) -> Iterator[tuple[str, str]]:
    with served(both[0].site) as one, served(both[1].site) as other:
        yield one, other


def content(page: Page) -> list[str]:
    """Return the HTML below the heading, cut at rows of tables, in no order.

    Tables of all GPUs stand in the order of ``mkdocs.yml``, and so do the choices.
    """
    page.wait_for_selector("form.dsocr-pair:not([hidden])")
    html = page.evaluate("""() => {
      const first = document.querySelector('.dsocr');
      const every = [...first.parentElement.children];
      return every.slice(every.indexOf(first)).map((one) => one.outerHTML).join('\\n');
    }""")
    # Files of modules and sweeps are written for fewer pairs than have pages.
    for words in (
        r' <a href="[^"]*/modules\.csv">modules\.csv</a> lists all exact values\.',
        r'<p class="dsocr-note">Every column: .*?</p>',
        r' As a file: <a href="[^"]*\.csv">by_input\.csv</a>\.',
    ):
        html = re.sub(words, "", str(html))
    html = re.sub(r"<form class=\"dsocr-pair\".*?</form>", "", str(html), flags=re.DOTALL)
    return sorted(re.sub(r">\s+<", "><", html).split("<tr"))


@pytest.mark.parametrize("path", EVERY)
def test_a_switched_page_is_the_page_built_for_the_pair(
    chrome: Browser, addresses: tuple[str, str], path: str
) -> None:
    here, there = (chrome.new_page() for _ in addresses)
    errors: list[str] = []
    here.on("pageerror", lambda error: errors.append(str(error)))
    here.goto(f"{addresses[0]}dsocr/{path}")
    before = content(here)
    form = here.locator("form.dsocr-pair")
    form.get_by_label("Workload").select_option(WORKLOADS[1])
    form.get_by_label("GPU").select_option(GPUS[1])
    here.wait_for_selector(f"text={WORKLOADS[1]} on NVIDIA H100")
    there.goto(f"{addresses[1]}dsocr/{path}")
    if path != "gpus/":  # its first table has the site's own order in its cells
        assert content(here) == content(there)
    form.get_by_label("Workload").select_option(WORKLOADS[0])
    form.get_by_label("GPU").select_option(GPUS[0])
    here.wait_for_selector(f"text={WORKLOADS[0]} on NVIDIA GeForce RTX 5090")
    assert content(here) == before
    assert not errors


def test_a_choice_goes_with_the_reader_and_stands_in_the_address(
    chrome: Browser, addresses: tuple[str, str]
) -> None:
    page = chrome.new_page()
    page.goto(f"{addresses[0]}dsocr/")
    page.locator("form.dsocr-pair").get_by_label("GPU").select_option(GPUS[1])
    page.wait_for_selector(f"text={WORKLOADS[0]} on NVIDIA H100")
    shared = page.url
    page.goto(f"{addresses[0]}dsocr/memory/")
    page.wait_for_selector(f"text={WORKLOADS[0]} on NVIDIA H100")
    other = chrome.new_context().new_page()
    other.goto(shared)
    other.wait_for_selector(f"text={WORKLOADS[0]} on NVIDIA H100")


def test_every_link_of_a_switched_page_leads_to_a_file_of_its_pair(both: list[BuiltSite]) -> None:
    root = both[0].site / "dsocr"
    scripts = list(root.glob("scenarios/*/*/**/*.js"))
    assert len(scripts) > 3 * len(EVERY)
    for script in scripts:
        _, workload, gpu, *names = script.relative_to(root).with_suffix("").parts
        page = root.joinpath(*(name for name in names if name != "index"))
        html = json.loads(script.read_text(encoding="utf-8").partition(" = ")[2].removesuffix(";"))
        for link in re.findall(r'(?:href|src)="([^"#?:]+)[^":]*"', html):
            assert Path(os.path.normpath(page / link)).exists(), (script, link)
            if link.endswith("modules.csv"):
                assert (gpu, Path(link).parent.name) == (GPUS[0], workload), script


def test_the_switch_works_from_a_folder(chrome: Browser, both: list[BuiltSite]) -> None:
    page = chrome.new_page()
    page.goto(f"{(both[0].site / 'dsocr/layers/Linear/index.html').as_uri()}")
    page.locator("form.dsocr-pair").get_by_label("Workload").select_option(WORKLOADS[1])
    page.wait_for_selector(f"text={WORKLOADS[1]} on NVIDIA GeForce RTX 5090")


def test_without_scripts_the_built_pair_is_shown(chrome: Browser, both: list[BuiltSite]) -> None:
    page = chrome.new_context(java_script_enabled=False).new_page()
    page.goto(f"{(both[0].site / 'dsocr/index.html').as_uri()}")
    assert page.locator(".dsocr-evidence").get_by_text(f"{WORKLOADS[0]} on").is_visible()
    assert not page.locator("form.dsocr-pair").is_visible()


def test_more_pairs_than_a_site_has_pages_for_have_no_switch() -> None:
    settings = pipeline.Settings(hardware=("rtx-5090", "h100-sxm"))
    ((one, other),) = pipeline.analyse(settings)
    assert can_switch(((one, other),))
    assert not can_switch(((one,),))
    assert not can_switch(((one,) * (MOST_PAIRS + 1),))
