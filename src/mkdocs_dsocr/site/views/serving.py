"""Decode with many sequences at once."""

from __future__ import annotations

from typing import Any

from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.charts import Bar, bars
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links


def serving(site: Site, links: Links) -> dict[str, Any]:
    """Return the rates by batch as a chart, and the critical batch of each module."""
    found, nodes = site.main.report.serving, site.main.nodes
    rates = [(p.batch, p.tokens_per_s) for p in (found.points if found else ())]
    critical = found.critical_batches.items() if found else ()
    items = [Bar(f"{batch:,} at once", rate, units.significant(rate)) for batch, rate in rates]
    return {
        "chart": bars("Tokens a second by sequences at once", items, kinds=False),
        "critical_batches": [(name, nodes[name].class_name, batch) for name, batch in critical],
        "launches_experts": any(n.visit.child.active is not None for n in nodes.values()),
    }
