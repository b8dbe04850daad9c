"""Time edits while ``mkdocs serve`` runs and Chromium shows a page: until it has the new numbers.

    python -m benchmarks.live [runs]

*first* is what the plugin's hooks take in the build that makes the page in view, *rest* what they
take in the further build with all other pages, *MkDocs* what the first build takes without them,
once its configuration is loaded.
*shown* is the time from the edit until the browser has the new text: with the waits of MkDocs and
of the plugin for a file that is still being written. Prints medians in seconds, and their ratios
to *MkDocs*. The rows *10 × 20* are of a site of ten workloads, each with shapes of its own, on
twenty GPUs. Writes ``benchmarks/results/live.json``. Needs the system's Chromium or Playwright's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

import mkdocs_dsocr
from benchmarks.measure import chromium, environment
from benchmarks.sites import of_ten_shapes, twenty_gpus
from mkdocs_dsocr import resources

RESULTS = Path(__file__).parent / "results"
ADDRESS = "127.0.0.1:8799"
YML = """site_name: s
use_directory_urls: false
theme: {{name: material, font: false}}
hooks: [timing.py]
plugins:
  - search
  - dsocr: {{workloads: {workloads}, hardware: {gpus}, measurements: [m.json]}}
"""
HOOKS = '''"""Writes what a build took, and what the plugin's hooks took of it."""

import json
import time

from mkdocs.plugins import event_priority

spent = {}


def timed(hook):
    def run(*args, **kwargs):
        start = time.perf_counter()
        try:
            return hook(*args, **kwargs)
        finally:
            spent["plugin"] += time.perf_counter() - start

    return run


@event_priority(100)
def on_pre_build(config):
    spent.update(plugin=0.0, start=time.perf_counter())
    dsocr = config.plugins["dsocr"]
    for hooks in config.plugins.events.values():
        hooks[:] = [timed(h) if getattr(h, "__self__", None) is dsocr else h for h in hooks]


@event_priority(-100)
def on_post_build(config):
    took = {"plugin": spent["plugin"], "build": time.perf_counter() - spent["start"]}
    with open("builds.jsonl", "a") as file:
        file.write(json.dumps(took) + "\\n")
'''
GPU = "h100-sxm"
MEASURED = f"measurements/{GPU}/run-1/dsocr-standard-v1.json"


class Edit(NamedTuple):
    """A file, what changes in it, the page that is open, and what that shows then.

    In texts, ``{}`` stands for the number of the edit.
    """

    file: str
    pattern: str
    text: str
    page: str
    shows: str


LAYER = "code/mkdocs_dsocr/layers/builtin/activations.py"
EDITS = {
    "workload": Edit("w.yaml", r"num_pages: \d+", "num_pages: {}", "index.html", "reads {} pages"),
    "GPU": Edit("gpu.yaml", r"(?m)^name: .*", "name: Edited {}", "index.html", "Edited {}"),
    "measurement": Edit(
        "m.json", r'"run_id": "[^"]*"', '"run_id": "edited-{}"', "measured.html", "edited-{}"
    ),
    # The last one: from then on every build renders in a process of its own.
    "Python": Edit(
        LAYER,
        r'(class SiLU\(Activation\):\n    """)(Edited \d+. )?',
        r"\1Edited {}. ",
        "layers/SiLU.html",
        "Edited {}.",
    ),
}


def site(folder: Path, is_large: bool) -> None:
    """Write a site, and a copy of the package that may be edited."""
    package, data = folder / "code/mkdocs_dsocr", resources.data_dir()
    shutil.copytree(Path(mkdocs_dsocr.__file__).parent, package)
    shutil.copytree(data, package / "data", dirs_exist_ok=True)
    (folder / "docs").mkdir()
    (folder / "docs/index.md").write_text("# Home\n")
    workloads = of_ten_shapes(folder)[1:] if is_large else []
    gpus = [gpu for gpu in twenty_gpus() if gpu != GPU] if is_large else []
    yml = YML.format(workloads=["w.yaml", *workloads], gpus=["gpu.yaml", *gpus])
    (folder / "mkdocs.yml").write_text(yml)
    (folder / "timing.py").write_text(HOOKS)
    shutil.copy(data / "workloads/dsocr-standard-v1.yaml", folder / "w.yaml")
    shutil.copy(data / f"hardware/{GPU}.yaml", folder / "gpu.yaml")
    shutil.copy(data / MEASURED, folder / "m.json")


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Serve the site meanwhile."""
    command = [sys.executable, "-m", "mkdocs", "serve", "--quiet", "-a", ADDRESS]
    own = {"PYTHONPATH": str(folder / "code"), "XDG_CACHE_HOME": str(folder / "cache")}
    server = subprocess.Popen(command, cwd=folder, env=environment(own))
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def builds(folder: Path) -> list[dict[str, float]]:
    """Return what each build took."""
    path = folder / "builds.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises
    ------
    TimeoutError
        If it does not in two minutes.
    """
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("no build in 120 s")
        time.sleep(0.02)


def measured(page: Page, folder: Path, edit: Edit, number: int) -> dict[str, float]:
    """Edit a file while its page is open, and return what each part took, in seconds."""
    page.goto(f"http://{ADDRESS}/dsocr/{edit.page}")
    page.wait_for_timeout(500)  # it asks for changes from then on
    before, path = len(builds(folder)), folder / edit.file
    text = re.sub(edit.pattern, edit.text.format(number), path.read_text(encoding="utf-8"), count=1)
    start = time.perf_counter()
    path.write_text(text, encoding="utf-8")
    words = edit.shows.format(number)
    page.wait_for_function("text => document.body?.innerText.includes(text)", arg=words)
    shown = time.perf_counter() - start
    wait(lambda: len(builds(folder)) >= before + 2)
    page.wait_for_timeout(2000)  # it loads the last build
    first, rest, *_ = builds(folder)[before:]
    own = first["build"] - first["plugin"]
    return {"first": first["plugin"], "rest": rest["plugin"], "MkDocs": own, "shown": shown}


def medians(runs: int, edits: Mapping[str, Edit], is_large: bool) -> dict[str, dict[str, float]]:
    """Return the median of each figure of each edit, an edit before it left out."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in edits}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        site(folder, is_large)
        chrome = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = chrome.new_page()
        with serving(folder):
            wait(lambda: len(builds(folder)) == 1)
            every = [(kind, edit) for kind, edit in edits.items() for _ in range(runs + 1)]
            for number, (kind, edit) in enumerate(every, start=2):
                found[kind].append(measured(page, folder, edit, number))
        chrome.close()
    return {
        name: {kind: statistics.median(took[kind] for took in every[1:]) for kind in every[0]}
        for name, every in found.items()
    }


def main(runs: int = 5) -> None:
    large = {name: EDITS[name] for name in ("workload", "GPU", "measurement")}
    found = medians(runs, EDITS, is_large=False)
    more = medians(runs, large, is_large=True)
    found |= {f"{name}, 10 × 20": took for name, took in more.items()}
    kinds = ("first", "rest", "MkDocs", "shown")
    print(f"{'edit':22}" + "".join(f"{kind:>9}" for kind in kinds) + f"{'first/MkDocs':>14}")
    ratios = {name: round(took["first"] / took["MkDocs"], 3) for name, took in found.items()}
    for name, took in found.items():
        print(f"{name:22}" + "".join(f"{took[k]:9.3f}" for k in kinds) + f"{ratios[name]:14.2f}")
    report = {
        "runs": runs,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "bytecode": "compiled",
        "median_seconds": {n: {k: round(took[k], 3) for k in kinds} for n, took in found.items()},
        "ratio_to_MkDocs": ratios,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "live.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
