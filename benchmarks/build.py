"""How long a site takes to build: plain Material, warm and cold, as whole processes in one run.

    python -m benchmarks.build [runs]

*Plain* is Material over the Markdown that ``dsocr export`` writes, without the
plugin; *cold* has nothing in its cache, *warm* has what a first build left. Both use the trace that
ships; *cold, traced* makes its own. *10 × 20* has ten workloads on twenty GPUs.
Prints a table and writes ``benchmarks/results/build.json``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import Seconds, report, seconds
from mkdocs_dsocr import resources
from mkdocs_dsocr.inputs import shipped
from mkdocs_dsocr.resources import DEFAULT_WORKLOAD

WORKLOADS, GPUS = 10, 20
THEME = "site_name: s\nuse_directory_urls: false\ntheme: {name: material, font: false}\n"


def main(runs: int = 5) -> None:
    others = [f"pages-{number}.yaml" for number in range(2, WORKLOADS + 1)]
    many = f"workloads: {[DEFAULT_WORKLOAD, *others]}, hardware: {shipped('hardware')[:GPUS]}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for site, plugins in (
            ("plain", "[search]"),
            ("own", "[search, dsocr]"),
            ("traced", "[search, dsocr: {trace: verify}]"),
            (
                "many",
                f"[search, dsocr: {{{many}}}]",
            ),
        ):
            (folder / site / "docs").mkdir(parents=True)
            (folder / site / "mkdocs.yml").write_text(THEME + f"plugins: {plugins}\n")
            (folder / site / "docs/index.md").write_text("# Home\n")
        workload = (resources.data_dir() / f"workloads/{DEFAULT_WORKLOAD}.yaml").read_text()
        for number, path in enumerate(others, start=2):
            changed = workload.replace("num_pages: 1", f"num_pages: {number}")
            text = changed.replace(DEFAULT_WORKLOAD, path.removesuffix(".yaml"))
            (folder / "many" / path).write_text(text)
        export = [sys.executable, "-m", "mkdocs_dsocr.cli", "export", str(folder / "plain/docs/d")]
        export += ["--flavour", "zensical"]
        subprocess.run(export, check=True, capture_output=True)
        cache = folder / "cache"
        build = [sys.executable, "-m", "mkdocs", "build", "--quiet"]

        def built(site: str, is_cold: bool = False) -> Seconds:
            if is_cold:
                shutil.rmtree(cache, ignore_errors=True)
            return seconds(build, cwd=folder / site, env={"XDG_CACHE_HOME": str(cache)})

        tasks = {
            "plain": partial(built, "plain"),
            "cold": partial(built, "own", is_cold=True),
            "warm": partial(built, "own"),
            "cold, traced": partial(built, "traced", is_cold=True),
            "10 × 20, cold": partial(built, "many", is_cold=True),
            "10 × 20, warm": partial(built, "many"),
        }
        report("build", tasks, runs, "plain")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
