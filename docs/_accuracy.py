"""The page *Accuracy*, from ``benchmarks/accuracy.py``; run by mkdocs-gen-files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import mkdocs_gen_files

sys.path.append(str(Path(__file__).parents[1]))  # `mkdocs build` does not look for modules here

from benchmarks.accuracy import (
    REPRODUCTION,
    VALIDATION,
    Row,
    mean_error,
    not_comparable,
    rows,
)


def _signed(error: float) -> str:
    return f"{error:+.1%}".replace("-", "−")


def summary(found: list[Row]) -> Iterator[str]:
    """Yield a row for each GPU and figure."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        groups.setdefault((row.hardware, row.figure), []).append(row)
    yield "| GPU | Figure | Rows | Mean error | From | To |\n|---|---|--:|--:|--:|--:|"
    for (hardware, figure), group in sorted(groups.items()):
        errors = [row.error for row in group]
        yield (
            f"| `{hardware}` | {figure} | {len(group)} | {mean_error(group):.1%} | "
            f"{_signed(min(errors))} | {_signed(max(errors))} |"
        )


def table(found: list[Row]) -> Iterator[str]:
    """Yield every row, the largest error first."""
    yield "| Error | Predicted, ms | Measured, ms | GPU | Run | Workload | Batch | Figure |"
    yield "|--:|--:|--:|---|---|---|--:|---|"
    for row in sorted(found, key=lambda row: -abs(row.error)):
        yield (
            f"| {_signed(row.error)} | {row.predicted_ms:.4g} | {row.measured_ms:.4g} | "
            f"`{row.hardware}` | {row.run} | `{row.workload}` | {row.batch} | {row.figure} |"
        )


def page(found: list[Row]) -> Iterator[str]:
    """Yield the lines of the page."""
    checked = [row for row in found if row.kind == VALIDATION]
    yield "# Accuracy\n"
    yield (
        "Each row compares the predicted kernel time of a pass with the measured one. The error is "
        "predicted / measured − 1: a negative error means that the prediction is too short. "
        "Both figures are of PyTorch in eager mode, where each operation is a kernel of its own. "
        "This page is computed in each build from the files in `data/measurements/`; "
        "`python -m benchmarks.accuracy` prints the same rows.\n"
    )
    yield (
        f"Over {len(checked)} rows that set no constant, the mean absolute error is "
        f"**{mean_error(checked):.1%}**. It is not the same everywhere: decode is close, and "
        "vision is predicted at about half of its time.\n"
    )
    yield "## By GPU and figure\n"
    yield from summary(checked)
    yield "\n## Where the largest errors come from\n"
    yield (
        "**Vision.** SAM copies and adds large tensors with strides: its relative positions, its "
        "windows and its norms. The time model gives every memory-bound kernel the same share of "
        "the bandwidth; a strided copy reaches less of it. Some operations also start "
        "several kernels and count as one.\n\n"
        "**Projector.** Its kernels take a few microseconds, so the start of a kernel is most of "
        "the time, and an error of one microsecond shows.\n\n"
        "**Prefill.** Its matrix products are small for the GPU; tiles that do not fill all "
        "multiprocessors are not modelled. On the H200 the small products take nearly as long as "
        "on the H100 (see `kernels.json` of both), although its bandwidth is larger.\n\n"
        "A model with access patterns, reductions, tiles and several kernels for an operation "
        "is calibrated in `benchmarks/CALIBRATION.md`, with its errors. "
        "The figures of this site do not use it yet.\n"
    )
    yield "## Reproduced, not validated\n"
    yield (
        "The constants of this GPU were set from data that contain these rows, so their "
        "agreement is no evidence.\n"
    )
    yield from table([row for row in found if row.kind == REPRODUCTION])
    yield "\n## What cannot be compared\n"
    yield "| Source | Rows | Why |\n|---|---|---|"
    yield from (f"| {source} | {ids} | {why} |" for source, ids, why in not_comparable())
    yield ""
    yield "## Every row\n"
    yield from table(checked)


with mkdocs_gen_files.open("accuracy.md", "w") as file:
    file.write("\n".join(page(rows())) + "\n")
