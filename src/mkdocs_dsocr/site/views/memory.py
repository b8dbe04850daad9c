"""Memory by stage, what is live at its peak, and the batches that fit."""

from __future__ import annotations

import dataclasses
from typing import Any

from mkdocs_dsocr.cost.memory import LIMIT, fitting
from mkdocs_dsocr.layers.memory import held_at_peak
from mkdocs_dsocr.site.content import Site
from mkdocs_dsocr.site.links import Links


def memory(site: Site, links: Links) -> dict[str, Any]:
    """Return the largest batch of each GPU, and the tensors at the peak of each stage."""
    main = site.main
    own_gb = main.hardware.memory_gb
    needed = main.footprints(max(h.memory_gb for h in site.gpus))
    last = main.workload.model_copy(update={"logits_positions": "last"})
    with_last = dataclasses.replace(main, workload=last).footprints(own_gb)
    return {
        "peaks": [(s, list(held_at_peak(m.layer))) for s, m in main.stage_memory.items()],
        "fits": [(h, fitting(needed, h.memory_gb)) for h in site.gpus],
        "fit_limit": LIMIT,
        "fit_with_last_logits": fitting(with_last, own_gb),
    }
