"""Time an update of the page *What if* in Chromium, compared with the page's first load.

    python -m benchmarks.planner [runs]

*update* changes the batch size and recomputes all figures, the largest batch included.
*how many GPUs* changes the target of the form below.
*first figures* is the time from the start of navigation until the first figures are found.
Prints medians in milliseconds, and their ratios to *first figures*.
Writes ``benchmarks/results/planner.json``. Needs the system's Chromium or Playwright's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

RESULTS = Path(__file__).parent / "results"
SITE = "site_name: s\nuse_directory_urls: false\ntheme: {name: material, font: false}\n"
FIRST = "performance.now()"
CHANGE = """([selector, name, value]) => {
  const form = document.querySelector(selector);
  const start = performance.now();
  form.elements[name].value = value;
  form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  return performance.now() - start;
}"""


def main(runs: int = 15) -> None:
    taken: dict[str, list[float]] = {"first figures": [], "update": [], "how many GPUs": []}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "docs").mkdir()
        (folder / "docs/index.md").write_text("# Home\n")
        (folder / "mkdocs.yml").write_text(SITE + "plugins: [search, dsocr]\n")
        build = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
        subprocess.run(build, cwd=folder, check=True, capture_output=True)
        system = shutil.which("chromium") or shutil.which("google-chrome")
        chrome = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        for run in range(runs):
            page = chrome.new_page()
            page.goto((folder / "site/dsocr/planner.html").as_uri())
            page.wait_for_function("document.querySelector('form.dsocr-planner')?.result")
            taken["first figures"].append(page.evaluate(FIRST))
            planner = ["form.dsocr-planner", "batch_size", 3 + 2 * run]
            taken["update"].append(page.evaluate(CHANGE, planner))
            fleets = ["form.dsocr-fleets", "pages_per_day", 10**6 + run]
            taken["how many GPUs"].append(page.evaluate(CHANGE, fleets))
            page.close()
        version = chrome.version
        chrome.close()
    medians = {what: statistics.median(found) for what, found in taken.items()}
    ratios = {what: value / medians["first figures"] for what, value in medians.items()}
    print(f"{'':16} {'median ms':>10} {'of first figures':>17}")
    for what, value in medians.items():
        print(f"{what:16} {value:10.1f} {ratios[what]:17.3f}")
    content = {
        "runs": runs,
        "chromium": version,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "median_ms": {what: round(value, 1) for what, value in medians.items()},
        "ratio_to_first_figures": {what: round(value, 3) for what, value in ratios.items()},
    }
    (RESULTS / "planner.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
