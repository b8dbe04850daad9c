"""A result → the files of a site and of a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs_dsocr.cache import Cache, source_digest
from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.pipeline import Result
from mkdocs_dsocr.report import Analysis, report_files
from mkdocs_dsocr.report.files import REPORT_FILES, SUMMARY, summary_json
from mkdocs_dsocr.static import Analyses

if TYPE_CHECKING:
    from mkdocs_dsocr.site.content import Site
    from mkdocs_dsocr.site.links import LinkStyle

FORMULAS: Final = "static/formulas.js"
FORMULAS_CODE: Final = (
    "layers",
    "models",
    "sweep",
    "sweep/formulas.js",
    "quantities.py",
    "report/timing.py",
    "inputs",
)
"""What the formulas' script is made by."""


@lru_cache(maxsize=4)
def formulas(config: ModelConfig, cache: Cache | None) -> str:
    """Return the formulas of a model as a script, from the cache where that has them."""
    package = Path(__file__).parent
    code = source_digest(package / part for part in FORMULAS_CODE)
    key = json.dumps(["formulas", code, config.model_dump(mode="json")])
    known = cache.load(key) if cache is not None else None
    if isinstance(known, str):
        return known
    from mkdocs_dsocr.sweep import planner

    made = planner.text(config)
    if cache is not None:
        cache.save(key, made)
    return made


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


def _places(analyses: Analyses) -> list[tuple[str, Analysis, bool]]:
    """Return each analysis with its folder, and whether it is the first of its workload."""
    return [
        ("/".join((a.workload.profile_id, *([a.hardware.hardware_id] if i else []))), a, i == 0)
        for row in analyses
        for i, a in enumerate(row)
    ]


def artifacts(result: Result) -> dict[str, str]:
    """Return every file for machines that is ready, by its path under ``artifacts/``."""
    static = result.static.artifacts | verdicts(result)
    files = {f"static/{name}": text for name, text in static.items()}
    places = _places(result.analyses)
    for folder, analysis, _ in places:
        if analysis.measurement is not None:
            files[f"{folder}/measurement.json"] = analysis.measurement.model_dump_json(indent=1)
    main, analysis, _ = places[0]
    return files | {f"{main}/{name}": text for name, text in report_files(analysis).items()}


def site_files(
    result: Result, style: LinkStyle, later: Sequence[str] = (), cache: Cache | None = None
) -> tuple[Site, dict[str, str], dict[str, bytes]]:
    """Return the site, its pages and its other files, by path within the plugin's folder.

    Parameters
    ----------
    result, style
        What is shown, and how pages are linked.
    later
        Paths under ``artifacts/`` of files that something else makes.
    cache
        Where the formulas' script is kept.
    """
    from mkdocs_dsocr.site.content import Site
    from mkdocs_dsocr.site.pages import assets, build_pages
    from mkdocs_dsocr.site.studies import studies_of

    ready = artifacts(result) | {FORMULAS: formulas(result.main.config, cache)}
    folder = f"{result.main.workload.profile_id}/sweeps"
    ready |= {f"{folder}/{n}": text for n, text in studies_of(result.main).files().items()}
    others = {f"artifacts/{p}": text.encode() for p, text in ready.items()}
    site = Site(
        result.analyses,
        result.verification,
        result.static.device_reason,
        tuple(sorted({*ready, *later})),
        result.checkpoint,
        result.vendor,
        {r.name: r for r in result.reviews},
        result.changes,
        result.is_stale,
    )
    others |= {f"assets/{name}": data for name, data in assets().items()}
    return site, build_pages(site, style), others
