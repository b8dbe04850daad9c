"""Every workload of the site on every GPU of the site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mkdocs_dsocr.cost.memory import LIMIT
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import units
from mkdocs_dsocr.site.charts import strip
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.frame import key
from mkdocs_dsocr.site.links import Links


def scenarios(site: Site, links: Links) -> dict[str, Any]:
    """Return a row for each analysis, with its stages as a strip."""
    rows = [row for analyses in site.analyses for row in _rows(analyses)]
    keys = [(key(index), stage) for index, stage in enumerate(STAGES)]
    return {"rows": rows, "keys": keys, "fit_limit": LIMIT}


def _rows(analyses: tuple[Analysis, ...]) -> Iterator[tuple[Analysis, Markup, bool]]:
    """Yield the analyses of a workload, each with its strip, and whether it is the first."""
    # The footprints of a workload are evaluated once, for its largest GPU.
    analyses[0].footprints(max(a.hardware.memory_gb for a in analyses))
    longest = max(a.predicted_ms for a in analyses)
    for a in analyses:
        words = f"{a.hardware.name}: {units.milliseconds(a.predicted_ms)}"
        amounts = [t.time_ms for t in a.stage_times.values()]
        yield a, strip(words, amounts, longest), a is analyses[0]
