"""Drawn workloads whose keys are drawn one by one, and may contradict each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def consistent(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a workload that runs the same and has no contradiction.

    A size that has no effect is left out, no batch has more prompts than there are, and the limit
    on tiles is as large as the grid needs.
    """
    result = dict(fields)
    if not fields["crop_mode"]:
        result = {k: v for k, v in result.items() if k not in ("base_size", "crop_grid")}
    elif fields.get("crop_grid"):
        result["max_tiles"] = max(2, math.prod(fields["crop_grid"]))
    if fields.get("num_pages") is not None:
        prompts = fields["num_pages"] // fields.get("pages_per_prompt", 1)
        result["batch_size"] = min(fields.get("batch_size", 1), prompts)
    return result
