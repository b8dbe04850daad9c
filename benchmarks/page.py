"""The page *How it compares*, from ``benchmarks/results/``; run by mkdocs-gen-files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files

RESULTS = Path(__file__).parent / "results"
COUNTS = {
    "mkdocs-dsocr": "the layers' formulas; imports no torch, runs no model",
    "FlopCounterMode, meta": "PyTorch's counter on shapes alone, which verifies the formulas",
    "FlopCounterMode, CPU": "the same on a CPU, whose fused attention it does not know",
    "torchinfo": "mult-adds of layers: a linear layer's without its tokens, no attention products",
    "fvcore": "a traced graph; fused attention is not among its operators",
    "calflops": "patched functions; fused attention is not among them",
    "deepspeed": "patched functions; elementwise work included",
}
"""What each tool counts on the tower."""


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    peers, build, live, sweep, browser = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("peers", "build", "live", "sweep", "browser")
    )
    yield "# How it compares\n"
    yield (
        "Each section is made from a file that the named command writes. Other machines have other "
        "seconds; ratios are of one run.\n"
    )
    yield "## The vision tower\n"
    yield (
        f"`nox -s peers`, {peers['date']}, Python {peers['python']}, {peers['machine']}: SAM ViT-B "
        "on one view of 1024 px, each tool once, in a process of its own; seconds are of the whole "
        "process. Ours evaluates formulas, and *meta* counts shapes; all others run the float32 "
        f"model with random weights on the CPU. The matmul FLOPs are {peers['matmul_flops']:,} (2 "
        "per multiply-add): by formula, and as PyTorch counts on `meta`.\n"
    )
    yield "| tool | FLOPs | difference | seconds | peak MiB | what it counts |"
    yield "|---|--:|--:|--:|--:|---|"
    for name, row in peers["tower"].items():
        yield f"| {name} {row['version']} | {_figures(row)} | {COUNTS[name]} |"
    yield "\n## What-if\n"
    yield (
        "Whole scenarios per second, `nox -s peers`. Ours: vision, projector, prefill and all "
        "decode steps of this model with memory and times, in one call for a grid of 400 batch "
        "sizes × 400 lengths. GenZ: one prefill and one decode step of Llama 2 7B, as it does not "
        "know this model; one call for each scenario.\n"
    )
    yield "| tool | scenarios per second |"
    yield "|---|--:|"
    for name, row in peers["sweeps"].items():
        rate = f"{row['value']:,.0f}" if "value" in row else row["failure"]
        yield f"| {name} {row['version']} | {rate} |"
    yield (
        "\n`python -m benchmarks.sweep` has larger grids, of all shipped GPUs and two formats, and "
        f"rows that have nothing in common: {_rates(sweep)}.\n"
    )
    took = browser["median_ms"]
    yield "## Pages\n"
    yield (
        f"`python -m benchmarks.browser`, Chromium {browser['chromium']}, {browser['machine']}, "
        f"median of {browser['runs']}: a default site, opened as files. *What if* has its first "
        f"figures after {took['first figures']:.0f} ms. A changed input takes {took['update']:.0f} "
        f"ms, one of *How many GPUs* {took['how many GPUs']:.0f} ms, both until the new figures "
        "are in the page; drawing them comes on top. The overview is loaded and answers after "
        f"{took['overview']:.0f} ms, and after {took['overview, slow CPU']:.0f} ms on a CPU that "
        "is made four times slower.\n"
    )
    yield "## Building the site\n"
    yield (
        f"`python -m benchmarks.build`, Python {build['python']}, {build['machine']}, median of "
        f"{build['runs']}, bytecode {build['bytecode']}. *plain* is Material over the same pages' "
        "Markdown, without this plugin; it also puts the text of tables into the search index, "
        "which the plugin leaves out. *cold* uses the trace that ships for the default workload's "
        "shapes, *cold, traced* makes one. *warm* is a build in which nothing has changed: it uses "
        "the pages of the one before. Before *edited*, a value of the workload changed. *10 × 1* "
        "and *10 × 20* are ten workloads on one GPU, between which pages switch, and on twenty, "
        "which pages show side by side. The workloads differ in the number of pages, or have "
        "*shapes of their own*, which are traced. CPU seconds are of all cores together.\n"
    )
    yield "| build | seconds | of plain | CPU seconds | of plain |"
    yield "|---|--:|--:|--:|--:|"
    for name, seconds in build["median_seconds"].items():
        cpu, kinds = build["median_cpu_seconds"][name], ("ratio_to_plain", "cpu_ratio_to_plain")
        wall_ratio, cpu_ratio = (build[kind][name] for kind in kinds)
        yield f"| {name} | {seconds:.2f} | {wall_ratio:.2f} | {cpu:.2f} | {cpu_ratio:.2f} |"
    yield "\n## Live edits\n"
    yield (
        "`python -m benchmarks.live`: `mkdocs serve` with one page open in Chromium, "
        f"median of {live['runs']} edits, in seconds. *Open page* and *other pages* are the "
        "plugin's own time in the builds that update them. *MkDocs* is the rest of the first "
        "build. *Shown* is the time from the edit until the browser shows the new text. "
        "*10 × 20* is a site of ten workloads, each with shapes of its own, on twenty GPUs.\n"
    )
    yield "| edit of | open page | other pages | MkDocs | shown |"
    yield "|---|--:|--:|--:|--:|"
    for name, took in live["median_seconds"].items():
        figures = (took[kind] for kind in ("first", "rest", "MkDocs", "shown"))
        yield f"| {name} | " + " | ".join(f"{seconds:.2f}" for seconds in figures) + " |"


def _figures(row: dict[str, Any]) -> str:
    if "failure" in row:
        return f"fails: {row['failure']} | | | "
    error = "0" if row["error"] == 0 else f"{row['error']:+.2%}"
    return f"{row['value']:,} | {error} | {row['seconds']:.1f} | {row['peak_mib']:,}"


def _rates(sweep: dict[str, Any]) -> str:
    rates = sweep["scenarios_per_second"]
    return ", ".join(f"{name}: {rate:,.0f} per second" for name, rate in rates.items())


with mkdocs_gen_files.open("compare.md", "w") as out:
    out.write("\n".join(page()) + "\n")
