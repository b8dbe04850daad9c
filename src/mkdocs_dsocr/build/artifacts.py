"""A result → the files of a site and of a report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from mkdocs_dsocr.build.pipeline import Result
from mkdocs_dsocr.build.trace_store import Analyses
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload
from mkdocs_dsocr.io import Cache, kept, source_digest
from mkdocs_dsocr.report import Analysis, report_files
from mkdocs_dsocr.report.files import REPORT_FILES, SUMMARY, summary_json, viewer_files
from mkdocs_dsocr.resources import PACKAGE

if TYPE_CHECKING:
    from mkdocs_dsocr.site.content import Site
    from mkdocs_dsocr.site.links import LinkStyle
    from mkdocs_dsocr.site.studies import Studies

FORMULAS: Final = "static/formulas.js"
GPUS: Final = "static/gpus.js"
MODELS: Final = "models.json"
FORMULAS_CODE: Final = (
    "layers",
    "models",
    "sweep",
    "cost",
    "cost/formulas.js",
    "quantities.py",
    "report",
    "inputs",
)
"""What the formulas' script is made by."""
MOST_PAIRS: Final = 12
"""Pairs of a workload and a GPU between which pages switch: each takes a second to build."""


def formulas(analyses: Analyses, cache: Cache | None) -> str:
    """Return the formulas of a model as a script, from the cache where that has them."""
    workloads = tuple(row[0].workload for row in analyses if row[0].workload.expert_load)
    return _formulas(analyses[0][0].config, workloads, cache)


@lru_cache(maxsize=4)
def _formulas(config: ModelConfig, workloads: tuple[Workload, ...], cache: Cache | None) -> str:
    from mkdocs_dsocr.cost import browser

    loads = [workload.expert_load for workload in workloads]
    key = json.dumps(["formulas", _code(), config.model_dump(mode="json"), loads])
    return kept(cache, key, _text, lambda: browser.text(config, workloads))


def _text(content: Any) -> str:
    """Return text of the cache that can be written to a file.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(content, str) or not content.encode():
        raise ValueError("no text")
    return content


def studies(
    analyses: Analyses, cache: Cache | None, shown: tuple[int, int] = (0, 0)
) -> Studies | None:
    """Return the tables of an analysis, from the cache where that has them.

    None where the workload needs more than their 64 bits.
    """
    from mkdocs_dsocr.site.content import all_gpus

    workload, gpu = shown
    return _studies(analyses[workload][gpu].predicted, tuple(all_gpus(analyses)), cache)


@lru_cache(maxsize=2)
def _studies(main: Analysis, gpus: tuple[Hardware, ...], cache: Cache | None) -> Studies | None:
    from mkdocs_dsocr.site.studies import Studies, as_lists, as_tables, tables

    inputs: tuple[BaseModel, ...] = (main.config, main.workload, main.hardware, *gpus)
    key = json.dumps(["studies", _code(), *(x.model_dump(mode="json") for x in inputs)])

    try:
        # In a folder of their own: many small entries push no trace out.
        found = kept(
            cache and Cache(cache.folder / "tables"),
            key,
            lambda content: content if as_tables(content, len(gpus)) else None,
            lambda: as_lists(tables(main, gpus)),
        )
    except OverflowError:
        return None
    return Studies(main, as_tables(found, len(gpus)))


def twins(pages: Mapping[str, str], style: LinkStyle, cache: Cache | None) -> dict[str, bytes]:
    """Return the Markdown twins of pages, from the cache where that has them."""
    from mkdocs_dsocr.site.twins import checked_twins, twins

    # In a folder of their own: many small entries push no trace out.
    store = cache and Cache(cache.folder / "twins")
    content = hashlib.sha256(json.dumps([style, dict(pages)]).encode()).hexdigest()
    key = json.dumps(["twins", source_digest([PACKAGE / "site"]), content])
    files = kept(
        store, key, lambda found: checked_twins(found, pages, style), lambda: twins(pages, style)
    )
    return {name: text.encode() for name, text in files.items()}


def _code() -> str:
    """Return a digest of the formulas' code."""
    return source_digest(PACKAGE / part for part in FORMULAS_CODE)


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
    static = result.static.artifacts | verdicts(result)
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


def site_files(
    result: Result,
    style: LinkStyle,
    later: Sequence[str] = (),
    cache: Cache | None = None,
    convert: Callable[[str], str] | None = None,
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
    convert
        Turns Markdown into HTML as the generator does, for the pages of other workloads and GPUs;
        without it, there is no switch between them.
    """
    from mkdocs_dsocr.cost.browser import gpus_text
    from mkdocs_dsocr.site.content import all_gpus
    from mkdocs_dsocr.site.pages import assets, build_pages
    from mkdocs_dsocr.site.switch import scripts

    ready = artifacts(result)
    ready[FORMULAS] = formulas(result.analyses, cache)
    ready[GPUS] = gpus_text(all_gpus(result.analyses))
    folder = f"{result.main.workload.profile_id}/sweeps"
    tables = studies(result.analyses, cache)
    files = tables.files() if tables is not None else {}
    ready |= {f"{folder}/{n}": text for n, text in files.items()}
    others = {f"artifacts/{p}": text.encode() for p, text in ready.items()}
    site = _site(
        result, tables, {*ready, *later}, convert is not None and has_switch(result.analyses)
    )
    pages = build_pages(site, style)
    others |= {f"assets/{name}": data for name, data in assets().items()}
    if convert is not None and site.has_switch:
        others |= dict(scripts(pages, _other_sites(site, cache), style, convert))
    return site, pages, others


def some_pages(
    result: Result, style: LinkStyle, only: Iterable[str], files: Iterable[str]
) -> dict[str, str] | None:
    """Return some pages of :func:`site_files` without a switch.

    None if one is no more, or shows figures that 64 bits do not hold.

    Parameters
    ----------
    result, style
        As for :func:`site_files`.
    only
        Paths of pages.
    files
        Paths under ``artifacts/`` of files that the site has.
    """
    from mkdocs_dsocr.site.content import all_gpus
    from mkdocs_dsocr.site.pages import build_pages, paths
    from mkdocs_dsocr.site.studies import Studies, tables

    main = result.main.predicted
    site = _site(result, Studies(main, tables(main, all_gpus(result.analyses))), files)
    wanted = set(only)
    try:
        return build_pages(site, style, wanted) if wanted <= paths(site) else None
    except OverflowError:
        return None


def _site(
    result: Result, tables: Studies | None, files: Iterable[str], switches: bool = False
) -> Site:
    from mkdocs_dsocr.site.content import Site

    return Site(
        result.analyses,
        result.verification,
        result.static.device_reason,
        tuple(sorted(files)),
        tables,
        result.checkpoint,
        result.vendor,
        {r.name: r for r in result.reviews},
        result.changes,
        result.models,
        result.is_stale,
        result.static.is_shipped,
        has_switch=switches,
    )


def has_switch(analyses: Analyses) -> bool:
    """Tell whether pages switch between workloads and GPUs: there are several, but not too many."""
    return 1 < sum(map(len, analyses)) <= MOST_PAIRS


def _other_sites(site: Site, cache: Cache | None) -> Iterator[Site]:
    """Yield the site as it shows each of its other pairs of a workload and a GPU."""
    for i, row in enumerate(site.analyses):
        for j in range(len(row)):
            if (i, j) != site.shown:
                tables = studies(site.analyses, cache, (i, j))
                yield dataclasses.replace(site, shown=(i, j), studies=tables)
