"""Models compared on the same workload and GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mkdocs_dsocr.report.models import GROWING, LENGTHS, ModelsCompared
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.frame import Axis
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.plots import Series, plot


def models(site: Site, links: Links) -> dict[str, Any]:
    """Return the plots over the length of the output."""
    assert site.models is not None  # the site has no such page otherwise
    return {"plots": list(_plots(site.models))}


def _plots(compared: ModelsCompared) -> Iterator[Markup]:
    axis = Axis("new tokens", units.scaled_count)
    for section, (kind, _) in GROWING.items():
        rows = [row for row in compared.sections[section] if None not in row.values]
        lines = [
            Series(title, [row.values[i] for row in rows])  # type: ignore[misc]
            for i, title in enumerate(compared.titles)
        ]
        yield plot(section, axis, Axis(section, units.WRITERS[kind]), LENGTHS[: len(rows)], lines)
