"""Time pages in Chromium: the overview until it answers, *What if* until it has figures.

    python -m benchmarks.browser [runs]

All but the updates count from the start of navigation; pages are opened as files.
*overview* ends when a task that waits behind the work of the load event runs.
*overview, slow CPU* is the same on a CPU that Chromium makes four times slower.
*first figures* ends when *What if* has its first figures.
*update* changes the batch size and recomputes all figures, the largest batch included.
*how many GPUs* changes the target of the form below.
Prints medians in milliseconds, and their ratios to *first figures*.
Writes ``benchmarks/results/browser.json``. Needs the system's Chromium or Playwright's.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.measure import chromium, environment

RESULTS = Path(__file__).parent / "results"
SITE = "site_name: s\nuse_directory_urls: false\ntheme: {name: material, font: false}\n"
SLOWER = 4
"""How many times slower the slow CPU is."""
READY = """new Promise((done) => {
  const behind = () => setTimeout(() => done(performance.now()));
  if (document.readyState === "complete") behind();
  else addEventListener("load", behind);
})"""
CHANGE = """([selector, name, value]) => {
  const form = document.querySelector(selector);
  const start = performance.now();
  form.elements[name].value = value;
  form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  return performance.now() - start;
}"""


def main(runs: int = 15) -> None:
    taken: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        site = _site(Path(name))
        chrome = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for run in range(runs):
            overview = {
                "overview": _overview(chrome, site, slower=1),
                "overview, slow CPU": _overview(chrome, site, slower=SLOWER),
            }
            taken.append({**overview, **_what_if(chrome, site, run)})
        version = chrome.version
        chrome.close()
    medians = {what: statistics.median(one[what] for one in taken) for what in taken[0]}
    ratios = {what: value / medians["first figures"] for what, value in medians.items()}
    print(f"{'':20} {'median ms':>10} {'of first figures':>17}")
    for what, value in medians.items():
        print(f"{what:20} {value:10.1f} {ratios[what]:17.3f}")
    content = {
        "runs": runs,
        "chromium": version,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "median_ms": {what: round(value, 1) for what, value in medians.items()},
        "ratio_to_first_figures": {what: round(value, 3) for what, value in ratios.items()},
    }
    (RESULTS / "browser.json").write_text(json.dumps(content, indent=1) + "\n")


def _site(folder: Path) -> Path:
    """Build a default site, and return the folder of the plugin's pages."""
    (folder / "docs").mkdir()
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(SITE + "plugins: [search, dsocr]\n")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True, env=environment())
    return folder / "site/dsocr"


def _overview(chrome: Browser, site: Path, slower: int) -> float:
    page = chrome.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.goto((site / "index.html").as_uri(), wait_until="commit")
    took = float(page.evaluate(READY))
    page.close()
    return took


def _what_if(chrome: Browser, site: Path, run: int) -> dict[str, float]:
    page = chrome.new_page()
    page.goto((site / "planner.html").as_uri())
    page.wait_for_function("document.querySelector('form.dsocr-planner')?.result")
    first = page.evaluate("performance.now()")
    update = page.evaluate(CHANGE, ["form.dsocr-planner", "batch_size", 3 + 2 * run])
    fleets = page.evaluate(CHANGE, ["form.dsocr-fleets", "pages_per_day", 10**6 + run])
    page.close()
    return {"first figures": first, "update": update, "how many GPUs": fleets}


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
