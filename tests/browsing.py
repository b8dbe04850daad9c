"""A real Chromium, and what a visitor of a site sees in it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
HEIGHT = 900
"""Of each window."""
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
"""The first one that is installed is used. The headless shell needs half the CPU time."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a Chromium, or skip the test where there is none; CI needs one."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine")
    assert path is not None, "CI needs a Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder and give its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def barriers(page: Page) -> list[tuple[str, str]]:
    """Return what breaks WCAG 2.2 AA by axe-core; the theme's sidebar and footer are its own."""
    # The details of rules that hold are left out.
    options = {"runOnly": {"type": "tag", "values": list(WCAG)}, "resultTypes": ["violations"]}
    context = {"exclude": [[".md-sidebar"], [".md-footer"]]}
    response = Axe().run(page, context=context, options=options).response
    return [(v["id"], n["html"][:120]) for v in response["violations"] for n in v["nodes"]]


class Visitor:
    """A tab that remembers errors and requests."""

    def __init__(self, browser: Browser, address: str, width: int = 1440, dark: bool = False):
        scheme = "dark" if dark else "light"
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",  # a look at a page does not depend on when it is taken
        )
        self.page: Page = context.new_page()
        self.address = address
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda r: self.requests.append(r.url))

    def _failed(self, request: Request) -> None:
        # Leaving a page aborts what it still loads: the search worker, on a slow machine.
        if request.failure != "net::ERR_ABORTED":
            self.errors.append(f"failed: {request.url}: {request.failure}")

    def open(self, path: str, until: Literal["load", "networkidle"] = "load") -> Page:
        response = self.page.goto(self.address + path, wait_until=until)
        assert response is not None
        assert response.ok
        return self.page


FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")


def resized(page: Page, width: int) -> Page:
    """Give the window of a page another width."""
    page.set_viewport_size({"width": width, "height": HEIGHT})
    page.wait_for_function("(width) => innerWidth === width", arg=width)
    return page


def faults(page: Page, width: int) -> list[str]:
    """Return what is wrong with the look of a page of ours, in words."""
    found: list[str] = page.evaluate(FAULTS, width)
    return found
