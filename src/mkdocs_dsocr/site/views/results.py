"""The pages that print one result, and the little that they add to it."""

from __future__ import annotations

from typing import Any, Final

from mkdocs_dsocr.report.paper import compare_with_paper, is_the_papers_model
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links

SHOWN_DIFFERENCES: Final = 200


def verification(site: Site, links: Links) -> dict[str, Any]:
    """Return the classes that keep a KV cache, and the window of a decode step."""
    return {
        "cache_classes": [
            name
            for name, nodes in site.main.classes.items()
            if any(n.own.kvcache_bytes for n in nodes)
        ],
        "window": site.main.config.language.sliding_window,
    }


def checkpoint(site: Site, links: Links) -> dict[str, Any]:
    """Return the number of differences that are listed."""
    return {"shown_differences": SHOWN_DIFFERENCES}


def measured(site: Site, links: Links) -> dict[str, Any]:
    """Return the analyses that have a measurement."""
    return {"measured": [a for row in site.analyses for a in row if a.comparison is not None]}


def paper(site: Site, links: Links) -> dict[str, Any]:
    """Return the paper's figures and ours; None if the site shows a model of other sizes."""
    config = site.main.config
    return {"paper": compare_with_paper(config) if is_the_papers_model(config) else None}
