"""How long a site takes to build: plain Material, warm and cold, as whole processes in one run.

    python -m benchmarks.build [runs]

*Plain* is Material over the Markdown that ``dsocr export`` writes, without the plugin; *cold* has
nothing in its cache, *warm* has what a first build left, and before *edited* a value of the
workload changed. These use the trace that ships; *traced* makes its own. The other rows have ten
workloads, on one GPU (pages switch between them) or on twenty: with the shapes of the trace that
ships, or each with *shapes of its own*, which are traced first.
Prints a table and writes ``benchmarks/results/build.json``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.measure import Seconds, report, seconds
from benchmarks.sites import DEFAULT, of_one_shape, of_ten_shapes, twenty_gpus
from mkdocs_dsocr import resources

THEME = "site_name: s\nuse_directory_urls: false\ntheme: {name: material, font: false}\n"


def site(folder: Path, plugins: str) -> Path:
    """Write a small site, and return its folder."""
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(THEME + f"plugins: {plugins}\n")
    return folder


def own(folder: Path, workloads: Sequence[str] = (), gpus: Sequence[str] = ()) -> Path:
    """Write a small site with the plugin, of these workloads and GPUs."""
    options = {"workloads": [*workloads], "hardware": [*gpus]}
    given = [f"{name}: {values}" for name, values in options.items() if values]
    return site(folder, f"[search, dsocr: {{{', '.join(given)}}}]")


def main(runs: int = 3) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for names in ("many", "many-shapes", "edited"):
            (folder / names).mkdir()
        of_one, of_ten = of_one_shape(folder / "many"), of_ten_shapes(folder / "many-shapes")
        workload = folder / "edited/w.yaml"
        shutil.copy(resources.data_dir() / DEFAULT, workload)
        plain = site(folder / "plain", "[search]")
        default, edited = own(folder / "default"), own(folder / "edited", ["w.yaml"])
        traced = site(folder / "traced", "[search, dsocr: {trace: verify}]")
        export = [sys.executable, "-m", "mkdocs_dsocr.cli", "export", str(plain / "docs/d")]
        export += ["--flavour", "zensical"]
        subprocess.run(export, check=True, capture_output=True)
        cache, numbers = folder / "cache", count(2)

        def built(where: Path, is_cold: bool = False) -> Seconds:
            if is_cold:
                shutil.rmtree(cache, ignore_errors=True)
            command = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
            return seconds(command, cwd=where, env={"XDG_CACHE_HOME": str(cache)})

        def rebuilt() -> Seconds:
            text = workload.read_text()
            pages = f"num_pages: {next(numbers)}"
            workload.write_text(re.sub(r"num_pages: \d+", pages, text))
            return built(edited)

        def on_twenty(where: str, workloads: Sequence[str], is_cold: bool) -> Seconds:
            return built(own(folder / where, workloads, twenty_gpus()), is_cold)

        tasks: dict[str, Callable[[], Seconds]] = {
            "plain": partial(built, plain),
            "cold": partial(built, default, is_cold=True),
            "warm": partial(built, default),
            "edited": rebuilt,
            "cold, traced": partial(built, traced, is_cold=True),
            "10 × 1, cold": lambda: built(own(folder / "many", of_one), is_cold=True),
            "10 × 20, cold": partial(on_twenty, "many", of_one, is_cold=True),
            "10 × 20, warm": partial(on_twenty, "many", of_one, is_cold=False),
            "10 × 20, shapes of their own, cold": partial(
                on_twenty, "many-shapes", of_ten, is_cold=True
            ),
            "10 × 20, shapes of their own, warm": partial(
                on_twenty, "many-shapes", of_ten, is_cold=False
            ),
        }
        report("build", tasks, runs, "plain")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
