"""Numbers with units, short enough to read and exact enough to check."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

_PREFIXES: Final = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))

LETTERS: Final = 24
"""Length of the longest :func:`bar`."""


def integer(value: int) -> str:
    """Return every digit, in groups of three."""
    return f"{value:,}"


def scaled(value: float, unit: str) -> str:
    """Return three significant digits with a decimal prefix (k, M, G, T, P)."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def scaled_count(value: float) -> str:
    """Return an amount of things."""
    return scaled(value, "").strip()


def significant(value: float, digits: int = 3) -> str:
    """Return `digits` significant digits without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return format(Decimal(text), "f") if "e" in text else text


def flops(value: float) -> str:
    """Return an amount of FLOPs."""
    return scaled(value, "FLOP")


def bytes_(value: float) -> str:
    """Return an amount of bytes, 1 kB being 1000."""
    return scaled(value, "B")


def milliseconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    for factor, unit in ((1000.0, "s"), (1.0, "ms"), (1e-3, "µs")):
        if value >= factor:
            return f"{significant(value / factor)} {unit}"
    return f"{significant(value * 1e6)} ns" if value else "0"


def percent(share: float) -> str:
    """Return a share; a small one is said to be small instead of 0."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def change(share: float) -> str:
    """Return a relative change with its sign; nothing where there is none."""
    if math.isnan(share) or abs(share) < 0.0005:
        return ""
    return f"{'+' if share > 0 else '−'}{100 * abs(share):.1f} %"


def bar(share: float) -> str:
    """Return a share as a bar of block characters: at most :data:`LETTERS`, in eighths of one."""
    eighths = round(8 * LETTERS * share)
    return "█" * (eighths // 8) + "▏▎▍▌▋▊▉"[: eighths % 8][-1:]


WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "text": str,
    "integer": integer,
    "flops": flops,
    "bytes": bytes_,
    "ms": milliseconds,
    "number": significant,
}
"""How a figure of each kind is written."""


def written(value: Any, kind: str) -> str:
    """Return a figure with its unit; a dash if there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return WRITERS[kind](value)
