"""The page's script where the browser's storage is denied, or holds what nobody put there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browsing import Visitor, served
from tests.conftest import ROOT

pytestmark = pytest.mark.browser
PAGE = """<!doctype html><title>t</title><link rel="icon" href="data:,">
<script src="dsocr.js"></script>
<div data-dsocr-cost><table><tbody><tr><td data-value="2"></td>
<td data-cost="price"><input type="number" name="price-x"></td>
<td data-cost="watts"><input type="number" name="watts-x"></td>
<td data-cost="cost"></td><td data-cost="energy"></td></tr></tbody></table></div>
<div data-dsocr-scripts="last.js" data-dsocr-run="last"></div>
"""
DENIED = """for (const name of ["getItem", "setItem"])
  Storage.prototype[name] = () => { throw new DOMException("denied", "SecurityError"); };"""


def _kept(value: str) -> str:
    return f"localStorage.setItem('dsocr-costs', {value!r});"


@pytest.mark.parametrize(
    "before", [_kept("null"), _kept("{"), _kept("5"), _kept("[]"), _kept('"x"'), DENIED, ""]
)
def test_the_script_runs_to_its_end(tmp_path: Path, chrome: Browser, before: str) -> None:
    shutil.copy(ROOT / "src/mkdocs_dsocr/site/assets/dsocr.js", tmp_path)
    (tmp_path / "last.js").write_text("globalThis.last = () => { document.title = 'ran'; };")
    (tmp_path / "index.html").write_text(PAGE)
    with served(tmp_path) as url:
        visitor = Visitor(chrome, url)
        visitor.page.add_init_script(before)
        page = visitor.open("")
        page.wait_for_function("document.title === 'ran'")
        page.locator("[name=price-x]").fill("3")
        assert visitor.errors == []
