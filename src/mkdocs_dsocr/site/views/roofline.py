"""All layers under the ceilings of the main GPU."""

from __future__ import annotations

from typing import Any, Final

from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.frame import legend
from mkdocs_dsocr.site.links import Links
from mkdocs_dsocr.site.roofline import points, roofline

SECTIONS: Final = {
    "Vision, projector and prefill": ("vision", "projector", "prefill"),
    "Decode": ("decode",),
}


def rooflines(site: Site, links: Links) -> dict[str, Any]:
    """Return heading, chart, legend and points of each section that has points."""
    main = site.main
    sections = []
    for heading, stages in SECTIONS.items():
        if shown := points(main, stages):
            title, dtype = f"Roofline: {', '.join(stages)}", main.workload.activation_dtype
            chart = roofline(title, shown, main.hardware, dtype, links.layer)
            keys = legend(stages) if len(stages) > 1 else ""
            sections.append((heading, chart, keys, shown))
    return {"sections": sections}
