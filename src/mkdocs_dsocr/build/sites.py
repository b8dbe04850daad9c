"""A result → a site: its pages, and the files next to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from mkdocs_dsocr.build import artifacts, prepared
from mkdocs_dsocr.build.pipeline import Result
from mkdocs_dsocr.build.switching import Begin, has_switch
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
    wait: Callable[[str], None] = lambda _: None,
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
    wait
        Called before ``tables`` and ``formulas`` are looked up: another process may make them.
    switch
        Begins with the pages of other workloads and GPUs; without it, none switches between them.
    """
    from mkdocs_dsocr.cost.browser import gpus_text
    from mkdocs_dsocr.site.content import all_gpus
    from mkdocs_dsocr.site.pages import assets, build_pages

    ready = artifacts.artifacts(result)
    ready[GPUS] = gpus_text(all_gpus(result.analyses))
    wait("tables")
    tables = prepared.studies(result.analyses, cache)
    folder = f"{result.main.workload.profile_id}/sweeps"
    files = tables.files() if tables is not None else {}
    ready |= {f"{folder}/{n}": text for n, text in files.items()}
    switches = switch is not None and has_switch(result.analyses)
    site = site_of(result, tables, {*ready, FORMULAS, *later}, switches)
    begun = switch(site, result.static) if switch is not None and switches else None
    pages = build_pages(site, style)
    scripts = dict(begun.scripts(pages)) if begun is not None else {}
    wait("formulas")
    ready[FORMULAS] = prepared.formulas(result.analyses, cache)
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
