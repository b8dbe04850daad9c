"""Bounds of results from bounds of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import add
from typing import Any, Final

FIXED: Final = {"series_of_maximum": (0.0, math.inf), "less": (0, 1), "equal": (0, 1)}
"""Bounds of results that do not depend on the arguments."""
_MONOTONE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "add": add,
    "maximum": max,
    "minimum": min,
}
"""Operators that grow with both arguments."""


def range_of(operator: str, ranges: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return bounds of a result from bounds of its arguments."""
    if operator in FIXED:
        return FIXED[operator]
    (a, b), *rest = ranges
    if operator == "whole":
        return a, b
    if operator == "select":
        return min(low for low, _ in rest), max(high for _, high in rest)
    ((c, d),) = rest
    if operator in _MONOTONE:
        of = _MONOTONE[operator]
        return of(a, c), of(b, d)
    if operator == "sub":
        return a - d, b - c
    corners = [_corner(operator, x, y) for x in (a, b) for y in (c, d)]
    return min(corners), max(corners)


def _corner(operator: str, a: Any, b: Any) -> Any:
    if operator == "mul":
        return a * b
    if operator == "pow":
        return a**b
    if operator == "ceil_div":
        return -(-a // b)
    if operator == "ratio" or isinstance(a, float) or isinstance(b, float):
        return a / b
    return a // b
