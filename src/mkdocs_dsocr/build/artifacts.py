"""A result → the files for machines, under ``artifacts/``: verdicts, reports and summaries."""

from __future__ import annotations

from typing import Final

from mkdocs_dsocr.build.pipeline import Result
from mkdocs_dsocr.build.static import Analyses, named
from mkdocs_dsocr.report import Analysis, report_files
from mkdocs_dsocr.report.files import REPORT_FILES, SUMMARY, summary_json, viewer_files

MODELS: Final = "models.json"


def verdicts(result: Result) -> dict[str, str]:
    """Return the files that say whether trace and checkpoint agree, by name."""
    files = {"verification.json": result.verification.to_json()}
    if result.checkpoint is not None:
        files["checkpoint.json"] = result.checkpoint.to_json()
    if result.vendor is not None:
        files["vendor.json"] = result.vendor.to_json()
    return files


def other_reports(analyses: Analyses) -> dict[str, str]:
    """Return the reports of all but the main workload and GPU, by path under ``artifacts/``.

    The whole report of a workload on its first GPU, and a summary for every other: a GPU
    changes times alone.
    """
    files: dict[str, str] = {}
    for row in analyses:
        row[0].footprints(max(a.hardware.room_bytes for a in row))  # for all GPUs at once
    for folder, analysis, is_first in _places(analyses)[1:]:
        own = report_files(analysis) if is_first else {SUMMARY: summary_json(analysis)}
        files |= {f"{folder}/{name}": text for name, text in own.items()}
    return files


def other_names(analyses: Analyses) -> list[str]:
    """Return the paths of :func:`other_reports` without making them."""
    return [
        f"{folder}/{name}"
        for folder, _, is_first in _places(analyses)[1:]
        for name in (REPORT_FILES if is_first else (SUMMARY,))
    ]


def prepare_others(analyses: Analyses) -> None:
    """Fill the caches that pages use of each workload and GPU, while a trace is still running."""
    for row in analyses:
        row[0].footprints(max(a.hardware.room_bytes for a in row))
        for analysis in row:
            analysis.latency  # noqa: B018 - what its times are made of is kept


def _places(analyses: Analyses) -> list[tuple[str, Analysis, bool]]:
    """Return each analysis with its folder, and whether it is the first of its workload."""
    return [
        ("/".join((a.workload.profile_id, *([a.hardware.hardware_id] if i else []))), a, i == 0)
        for row in analyses
        for i, a in enumerate(row)
    ]


def artifacts(result: Result) -> dict[str, str]:
    """Return every file for machines that is ready, by its path under ``artifacts/``."""
    static = named(result.static.artifacts, result.analyses) | verdicts(result)
    files = {f"static/{name}": text for name, text in static.items()}
    places = _places(result.analyses)
    for folder, analysis, _ in places:
        if analysis.measurement is not None:
            files[f"{folder}/measurement.json"] = analysis.measurement.model_dump_json(indent=1)
    main, analysis, _ = places[0]
    if result.models is not None:
        files[f"{main}/{MODELS}"] = result.models.to_json()
    own = report_files(analysis) | viewer_files(analysis)
    return files | {f"{main}/{name}": text for name, text in own.items()}
