"""Operator families in charts: each has the same colour on every page of every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mkdocs_dsocr.cost.totals import Family
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.site import svg, units
from mkdocs_dsocr.site.charts import Bar

OWN_COLOUR: Final = ("linear", "attention", "routing", "norm", "activation", "copy", "conv2d")
"""Families with a colour of their own, in the order of the colours."""
REST: Final = "other families"
NAMES: Final = (*(CATEGORIES[name].display_name for name in OWN_COLOUR), REST)
KINDS: Final = {name: svg.colour(index) for index, name in enumerate(NAMES)}
"""The class of colour of each name in a legend."""


def family_name(category: str) -> str:
    """Return the name of a family in charts."""
    return CATEGORIES[category].display_name if category in OWN_COLOUR else REST


def family_bars(families: Mapping[str, Family]) -> list[Bar]:
    """Return the device time of each family that takes any, in the order of the colours."""
    times = dict.fromkeys(NAMES, 0.0)
    for category, family in families.items():
        times[family_name(category)] += family.device_time_ms
    return [Bar(n, ms, units.milliseconds(ms), KINDS[n]) for n, ms in times.items() if ms]


def named_bars(families: Mapping[str, Family]) -> list[Bar]:
    """Return the same of every family by its own name, the longest time first."""
    times = {category: family.device_time_ms for category, family in families.items()}
    return [
        Bar(CATEGORIES[c].display_name, ms, units.milliseconds(ms), KINDS[family_name(c)])
        for c, ms in sorted(times.items(), key=lambda item: -item[1])
        if ms
    ]
