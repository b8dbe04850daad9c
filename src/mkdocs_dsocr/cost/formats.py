"""Number formats as columns: the table of formats for arrays, symbols and the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.quantities import equal, maximum, select

FORMAT_NAMES: Final = tuple(FORMATS)
"""Names of formats in the order of their codes."""


def format_numbers(name: str) -> dict[str, int]:
    """Return what a format's bytes are computed from.

    ``bytes`` of one value and ``rest_bits`` for a format without whole bytes, values in a
    ``group`` that shares a scale, and ``scale_bytes`` of that.
    """
    found = FORMATS[name]
    is_whole = found.bits % 8 == 0
    return {
        "bytes": found.bits // 8 if is_whole else 0,
        "rest_bits": 0 if is_whole else found.bits,
        "group": found.group or 1,
        "scale_bytes": found.scale_bits // 8,
    }


def compute_dtypes(codes: Mapping[str, Any], is_wide: Any) -> dict[str, Any]:
    """Return the code of the format at whose peak products run, by the operand that decides.

    As :class:`mkdocs_dsocr.layers.precision.Precision` has it: the activations' format where the
    operand has it too, or where activations have 16 bits.

    Parameters
    ----------
    codes
        The format of ``weight_dtype``, ``activation_dtype`` and ``kv_dtype``.
    is_wide
        Whether activations have 16 bits.
    """
    activation, plain = codes["activation_dtype"], FORMAT_NAMES.index("bf16")
    others = {name: codes[f"{name}_dtype"] for name in ("weight", "activation", "kv")}
    return {
        name: select(maximum(is_wide, equal(other, activation)), activation, plain)
        for name, other in {**others, "bf16": plain}.items()
    }
