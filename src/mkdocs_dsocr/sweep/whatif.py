"""What if: a saved report, evaluated again for other workloads and GPUs, many at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.models import Batch, BatchPass, Plan, model_of, resolved
from mkdocs_dsocr.report.analysis import Analysis
from mkdocs_dsocr.report.saved import as_config, as_workload
from mkdocs_dsocr.report.schema import AnalyticModelReport
from mkdocs_dsocr.sweep.api import rows_of
from mkdocs_dsocr.sweep.columns import WORKLOAD, defaults
from mkdocs_dsocr.sweep.studies import middle_step

FIGURES: Final = (
    "ttft_ms",
    "tpot_middle_ms",
    "pages_per_s",
    "predicted_total_time_ms",
    "floor_total_time_ms",
    "footprint_bytes",
    "fits",
)
"""What is evaluated; `fits`: whether the footprint is within the GPU's memory."""
CHUNK: Final = 4096
"""Scenarios that are evaluated at once."""


COLUMNS: Final = {
    *WORKLOAD,
    *("profile_id", "description", "doc_kind", "page_size", "crop_grid", "seq_len", "max_tiles"),
}
"""Fields of a workload that are columns, become columns, or have no cost."""


@dataclass(frozen=True)
class Scenario:
    """One evaluation: what was changed, on which GPU, and its figures."""

    changes: Mapping[str, Any]
    hardware_id: str
    figures: Mapping[str, float | bool | None]


class _Row(NamedTuple):
    """A scenario to evaluate; `analysis` counts nothing unless it is asked."""

    changes: Mapping[str, Any]
    plan: Plan
    analysis: Analysis


def evaluated(
    report: AnalyticModelReport,
    source: Path,
    variants: Iterable[Mapping[str, Any]],
    gpus: Sequence[Hardware] = (),
) -> Iterator[Scenario]:
    """Yield a scenario for each set of changes (outer) and each GPU (inner).

    Parameters
    ----------
    report, source
        What was saved, and where.
    variants
        Fields of a workload, with their values. They are read as scenarios are taken.
    gpus
        The report's own where there are none.

    Raises
    ------
    InputError
        If the report or a change makes no sense.
    """
    config = as_config(report, source)
    rows = _rows(config, report, source, variants, gpus or (report.hardware,))
    while chunk := list(itertools.islice(rows, CHUNK)):
        # What is no column is the same in all rows that go together.
        for _, same in itertools.groupby(chunk, _not_columns):
            yield from _scenarios(config, list(same))


def _not_columns(row: _Row) -> list[Any]:
    """Return what decides a scenario's work besides its columns, such as the experts' load."""
    workload = row.plan.workload
    return [getattr(workload, k) for k in Workload.model_fields if k not in COLUMNS]


def _rows(
    config: ModelConfig,
    report: AnalyticModelReport,
    source: Path,
    variants: Iterable[Mapping[str, Any]],
    gpus: Sequence[Hardware],
) -> Iterator[_Row]:
    for changes in variants:
        place = "--set" if changes else str(source)
        workload = as_workload(report.workload, changes, source)
        planned = resolved(config, workload, place)
        for gpu in gpus:
            analysis = Analysis(config, workload, gpu, place)
            analysis.check_formats()
            yield _Row(changes, planned, analysis)


def _scenarios(config: ModelConfig, rows: Sequence[_Row]) -> Iterator[Scenario]:
    """Yield the scenarios of rows; those that need over 64 bits are evaluated one by one."""
    try:
        columns = _columns(config, rows)
    except OverflowError:
        if len(rows) == 1:
            yield _scenario(rows[0], _figures(rows[0].analysis))
            return
        half = len(rows) // 2
        yield from _scenarios(config, rows[:half])
        yield from _scenarios(config, rows[half:])
        return
    for row, *figures in zip(rows, *(columns[name] for name in FIGURES), strict=True):
        yield _scenario(row, dict(zip(FIGURES, figures, strict=True)))


def _scenario(row: _Row, figures: Mapping[str, float | bool | None]) -> Scenario:
    return Scenario(row.changes, row.analysis.hardware.hardware_id, figures)


def _columns(config: ModelConfig, rows: Sequence[_Row]) -> dict[str, list[Any]]:
    """Return the figures of rows as lists, by name."""
    base = rows[0].plan
    gpus = [row.analysis.hardware for row in rows]
    given = [defaults(row.plan) for row in rows]
    dimensions: dict[str, Any] = {name: [d[name] for d in given] for name in given[0]}
    batch = np.array([row.plan.batch for row in rows])
    each = np.array(dimensions["pages_per_prompt"])
    first = dimensions | {"num_pages": batch * each, "batch_size": batch}
    whole = rows_of(config, base, gpus, **dimensions)
    prefill = rows_of(config, base, gpus, passes=_prefill, **first)
    step = rows_of(config, base, gpus, passes=middle_step, **first)
    prompts = np.array(dimensions["num_pages"]) // each
    prompt_ms = (whole["vision_time_ms"] + whole["projector_time_ms"]) / prompts
    has_steps = [row.plan.steps > 0 for row in rows]
    step_ms = zip(has_steps, step["decode_time_ms"].tolist(), strict=True)
    return {
        "ttft_ms": (batch * prompt_ms + prefill["prefill_time_ms"]).tolist(),
        "tpot_middle_ms": [ms if has_step else None for has_step, ms in step_ms],
        "pages_per_s": whole["pages_per_s"].tolist(),
        "predicted_total_time_ms": whole["time_ms"].tolist(),
        "floor_total_time_ms": whole["floor_time_ms"].tolist(),
        "footprint_bytes": whole["footprint_bytes"].tolist(),
        "fits": whole["fits"].tolist(),
    }


def _prefill(config: ModelConfig, batch: Batch) -> Iterator[BatchPass]:
    for found in model_of(config).passes(config, batch):
        if found.stage == "prefill":
            yield found


def _figures(analysis: Analysis) -> dict[str, float | bool | None]:
    latency, needed = analysis.latency, analysis.footprint_bytes
    return {
        "ttft_ms": latency.ttft_ms,
        "tpot_middle_ms": latency.tpot_middle_ms,
        "pages_per_s": latency.pages_per_s,
        "predicted_total_time_ms": analysis.predicted_ms,
        "floor_total_time_ms": analysis.floor_ms,
        "footprint_bytes": needed,
        "fits": needed <= analysis.hardware.room_bytes,
    }
