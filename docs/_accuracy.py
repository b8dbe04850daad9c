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
    by_shape,
    launch_rows,
    mean_error,
    not_comparable,
    rows,
)
from benchmarks.engines import EngineRow, Shape, published, published_rows, shapes, steps_on
from mkdocs_dsocr.inputs import load_hardware, shipped


def _signed(error: float) -> str:
    return f"{error:+.1%}".replace("-", "−")


def summary(found: list[Row]) -> Iterator[str]:
    """Yield a row for each GPU and figure."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        groups.setdefault((row.hardware, row.figure), []).append(row)
    yield "| GPU | Figure | Rows | Shapes | Mean error | From | To |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for (hardware, figure), group in sorted(groups.items()):
        errors = [row.error for row in group]
        yield (
            f"| `{hardware}` | {figure} | {len(group)} | {len(by_shape(group))} | "
            f"{mean_error(group):.1%} | {_signed(min(errors))} | {_signed(max(errors))} |"
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


def engines() -> Iterator[str]:
    """Yield what the model of engines gives for measured and published figures."""
    found = list(published_rows())
    times = [row for row in found if row.unit == "ms"]
    yield "\n## Serving engines\n"
    yield (
        "Published figures whose setting is known, with the default settings of the engine. The "
        f"mean absolute error of the {len(found)} rows is **{_mean(found):.1%}**, that of the "
        f"{len(times)} times among them **{_mean(times):.1%}**. No constant was set from them.\n"
    )
    yield "| Error | Predicted | Measured | Figure |\n|--:|--:|--:|---|"
    yield from map(_engine_row, found)
    steps = [row for gpu in ("h100-sxm", "h200-sxm") for row in steps_on(gpu)]
    yield (
        "\nDecode steps with an engine's schedule of kernels, written in PyTorch, were measured on "
        f"two GPUs (`data/measurements/*/*/engine.json`). The mean absolute error of the "
        f"{len(steps)} steps is **{_mean(steps):.1%}**.\n"
    )
    yield "| Error | Predicted | Measured | Step |\n|--:|--:|--:|---|"
    yield from map(_engine_row, sorted(steps, key=lambda row: -abs(row.error)))
    content = published()
    chosen = content["shapes"]
    yield (
        f"\n**Shape of the rate by output length** ({chosen['source']}): the rates below are those "
        f"of `{chosen['hardware']}` with {chosen['concurrency']} sequences and the default "
        "settings, the same for both models. GPU and concurrency were chosen to show the shape, so "
        "the level is no evidence.\n"
    )
    yield from _shapes(list(shapes()))
    yield "\n| Not compared | Why |\n|---|---|"
    yield from (f"| {row['id']} | {row['why']} |" for row in content["not_comparable"])
    yield ""


def launches() -> Iterator[str]:
    """Yield the wall time of eager decode steps, which the CPU decides."""
    found = list(launch_rows())
    costs = [row.launch_us for row in found]
    ratios = [row.predicted_ms / row.measured_ms for row in found]
    machines = len({(row.hardware, row.run) for row in found})
    [assumed] = {load_hardware(name).dispatch_us for name in shipped("hardware")}
    yield "\n## Wall time of eager decode\n"
    yield (
        "Launched operator by operator, a decode step takes as long as the CPU takes to launch it. "
        f"Every profile has {assumed:g} µs per operator, as one published machine with an RTX 5090 "
        "took. "
        f"The {machines} virtual machines that this project measured took {min(costs):.0f} to "
        f"{max(costs):.0f} µs, Python's part included: there the predicted wall time is "
        f"{min(ratios):.2f} to {max(ratios):.2f} of the measured one, although the kernels take "
        "as long as predicted. `dsocr measure` and the page *Predicted and measured* show what "
        "your machine takes in decode: write that as `dispatch_us` into a profile of your own. "
        "CUDA graphs and engines hardly depend on it.\n"
    )
    yield (
        "| µs per operator | Operators | Measured, ms | Kernels, ms | Predicted, ms | GPU | Run | "
        "Workload |\n|--:|--:|--:|--:|--:|---|---|---|"
    )
    for row in found:
        yield (
            f"| {row.launch_us:.1f} | {row.launches:,.0f} | {row.measured_ms:.4g} | "
            f"{row.device_ms:.4g} | {row.predicted_ms:.4g} | `{row.hardware}` | {row.run} | "
            f"`{row.workload}` |"
        )


def _mean(found: list[EngineRow]) -> float:
    return sum(abs(row.error) for row in found) / len(found)


def _engine_row(row: EngineRow) -> str:
    predicted, measured = (f"{value:,.6g} {row.unit}" for value in (row.predicted, row.measured))
    return f"| {_signed(row.error)} | {predicted} | {measured} | {row.figure} |"


def _shapes(found: list[Shape]) -> Iterator[str]:
    """Yield the rates by output length, published and predicted."""
    names = " | ".join(f"{new:,}" for new in found[0].new_tokens)
    yield f"| Model, tokens/s at new tokens | {names} | Change |"
    yield "|---|" + "--:|" * (len(found[0].new_tokens) + 1)
    for shape in found:
        for kind, rates in (("published", shape.measured), ("predicted", shape.predicted)):
            cells = " | ".join(f"{rate:,.0f}" for rate in rates)
            change = _signed(shape.changes(rates))
            yield f"| {shape.model}, {kind} | {cells} | {change} |"


def _result(checked: list[Row]) -> Iterator[str]:
    """Yield what the rows that set no constant say together."""
    errors = [row.error for row in checked]
    largest, by_row = max(errors, key=abs), sum(map(abs, errors)) / len(errors)
    yield (
        f"{len(checked)} rows set no constant. They are of {len(by_shape(checked))} distinct "
        "shapes (GPU, pass, shape): vision and projector do not change with the batch, and runs "
        f"repeat them. Over the shapes, the mean absolute error is **{mean_error(checked):.1%}**; "
        f"a shape has the mean of its rows. Over the rows it is {by_row:.1%}, and the largest "
        f"error is {_signed(largest)}.\n"
    )
    yield (
        f"The rows are of {len({row.hardware for row in checked})} GPUs; they say nothing about "
        "other GPUs, whose constants are inherited or assumed. They are of DeepSeek-OCR, except "
        "two: p06 is of DeepSeek-OCR-2, whose decoder has the same sizes, and p07 of jina-ocr-v1, "
        "which has DeepSeek-OCR's backbone.\n"
    )


def page(found: list[Row]) -> Iterator[str]:
    """Yield the lines of the page."""
    checked = [row for row in found if row.kind == VALIDATION]
    yield "---\nhide: [toc]\n---\n\n# Accuracy\n"
    yield (
        "Each row compares the predicted kernel time of a pass with the measured one. The error is "
        "predicted / measured − 1: a negative error means that the prediction is too short. "
        "Most figures are of PyTorch in eager mode, where each operation is a kernel of its own; "
        "figures of an engine are of captured graphs, fused kernels and grouped experts. "
        "This page is computed in each build from the files in `data/measurements/`; "
        "`python -m benchmarks.accuracy` prints the same rows.\n"
    )
    yield from _result(checked)
    yield "## By GPU and figure\n"
    yield from summary(checked)
    yield "\n## Where the largest errors come from\n"
    yield (
        "**Projector.** It takes 10 to 30 µs, so minimum times are most of it. cuBLAS adds a copy "
        "of the bias or a split that is not modelled, and one microsecond shows.\n\n"
        "**Vision of local views.** The antialiased resize of position tables takes 20 to 90 µs "
        "and is predicted as a reduction of a few; cuDNN converts layouts around convolutions; "
        "libraries clear their workspaces. On the RTX 5090 attention with an additive bias runs "
        "another kernel than on the H100, from which its rate is inherited, and errors of copies "
        "compensate for it.\n\n"
        "**Vision on the H100 and H200.** The modules that were measured launched 96 operators "
        "fewer for each view or batch of views than the checkpoint's code, which is predicted: "
        "about 0.15 ms.\n\n"
        "**H200.** Small products take nearly as long as on the H100 (`kernels.json` of both), "
        "although the bandwidth is 43 % larger. Rows of NVIDIA's own table show the same. The "
        "cause is not known.\n\n"
        "**Prefill.** Attention over a few hundred tokens takes 20 to 30 % longer than its tiles, "
        "and a scatter twice as long as its elements.\n\n"
        "Totals can hide errors of single kernels that compensate for each other: "
        "`benchmarks/CALIBRATION.md` has the errors by kind of kernel. Formulas: "
        "[How times are made](explanation/times.md).\n"
    )
    yield from launches()
    yield from engines()
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
