"""The form in which readers change an assumption."""

from __future__ import annotations

from typing import Any

from mkdocs_dsocr.cost.browser import gpu_rates
from mkdocs_dsocr.report.paper import MODES, PAPER_ARCHITECTURE
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links


def planner(site: Site, links: Links) -> dict[str, Any]:
    """Return the choices of the form, and the data of its script."""
    has_modes = site.main.config.architecture == PAPER_ARCHITECTURE
    return {
        "gpus": [(gpu, gpu_rates(gpu)) for gpu in site.gpus],
        "layer_links": {name: links.data(p.uri) for name, p in site.layer_pages.items()},
        # Side of the global view, side of local views, and whether there are any.
        "modes": {n: (view, tile or view, tile > 0) for n, view, tile, _ in MODES if has_modes},
        "data_link": links.data,
    }
