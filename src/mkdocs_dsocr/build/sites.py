"""A result → a site: its pages, and the files next to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from mkdocs_dsocr.build import artifacts, prepared
from mkdocs_dsocr.build.pipeline import Result
from mkdocs_dsocr.build.switching import Begin, can_switch
from mkdocs_dsocr.build.workers import ReportWorker
from mkdocs_dsocr.io import Cache

if TYPE_CHECKING:
    from mkdocs_dsocr.site.content import Site
    from mkdocs_dsocr.site.links import LinkStyle
    from mkdocs_dsocr.site.studies import Studies

FORMULAS: Final = "static/formulas.js"
GPUS: Final = "static/gpus.js"


def site_files(
    result: Result,
    style: LinkStyle,
    later: Sequence[str] = (),
    cache: Cache | None = None,
    switch: Begin | None = None,
    ahead: ReportWorker | None = None,
) -> tuple[Site, dict[str, str], dict[str, bytes]]:
    """Return the site, its pages and its other files, by path within the plugin's folder.

    Parameters
    ----------
    result, style
        What is shown, and how pages are linked.
    later
        Paths under ``artifacts/`` of files that something else makes.
    cache
        Where tables and the formulas' script are kept.
    ahead
        Makes tables and formulas beside this process.
    switch
        Begins with the pages of other workloads and GPUs; without it, none switches between them.
    """
    from mkdocs_dsocr.cost.browser import gpus_text
    from mkdocs_dsocr.site.content import all_gpus
    from mkdocs_dsocr.site.pages import assets, build_pages

    ready = artifacts.artifacts(result)
    ready[GPUS] = gpus_text(all_gpus(result.analyses))
    made = ahead.tables() if ahead is not None else None
    tables = prepared.studies(result.analyses, cache, made=made)
    folder = f"{result.main.workload.profile_id}/sweeps"
    files = tables.files() if tables is not None else {}
    ready |= {f"{folder}/{n}": text for n, text in files.items()}
    if not can_switch(result.analyses):
        switch = None
    site = site_of(result, tables, {*ready, FORMULAS, *later}, switch is not None)
    scripts: dict[str, bytes] = {}
    with switch(site, result.static) if switch is not None else nullcontext() as begun:
        pages = build_pages(site, style)
        if begun is not None:
            scripts = dict(begun.scripts(pages))
    formulas = ahead.formulas() if ahead is not None else None
    ready[FORMULAS] = formulas or prepared.formulas(result.analyses, cache)
    others = {f"artifacts/{path}": text.encode() for path, text in ready.items()}
    others |= {f"assets/{name}": data for name, data in assets().items()}
    return site, pages, others | scripts


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
    site = site_of(result, Studies(main, tables(main, all_gpus(result.analyses))), files)
    wanted = set(only)
    try:
        return build_pages(site, style, wanted) if wanted <= paths(site) else None
    except OverflowError:
        return None


def site_of(
    result: Result, tables: Studies | None, files: Iterable[str], has_switch: bool = False
) -> Site:
    """Return the content of a site.

    Parameters
    ----------
    result, tables
        What is shown.
    files
        Paths under ``artifacts/`` of files that the site has.
    has_switch
        Whether its pages switch between workloads and GPUs.
    """
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
        has_switch=has_switch,
    )
