"""Number formats as columns: the table of formats for arrays, symbols and the browser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers.formats import FORMATS, Format
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.models import plain_format
from mkdocs_dsocr.quantities import (
    Quantity,
    Symbol,
    ceil_div,
    equal,
    exact_div,
    maximum,
    select,
)

FORMAT_NAMES: Final = tuple(FORMATS)
"""Names of formats in the order of their codes."""


def format_numbers(name: str) -> dict[str, int]:
    """Return what a format's bytes are computed from.

    ``bits`` of one value; the same as ``bytes``, or as ``rest_bits`` for a format without whole
    bytes; values in a ``group`` that shares a scale, and ``scale_bytes`` of that.
    """
    found = FORMATS[name]
    is_whole = found.bits % 8 == 0
    return {
        "bits": found.bits,
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


@dataclass(frozen=True)
class _SymbolicFormat(Format):
    """A format whose bits a value, groups and scales are columns."""

    def bytes(self, elements: Quantity, columns: Quantity | None = None) -> Quantity:
        values = self._values(elements)
        if columns is None:
            return values
        groups: Quantity = ceil_div(columns, Symbol(f"{self.name}_group"))
        scales = exact_div(elements, columns) * groups
        stored: Quantity = values + Symbol(f"{self.name}_scale_bytes") * scales
        return stored

    def _values(self, elements: Quantity) -> Quantity:
        """Return the bytes of values without their scales."""
        values: Quantity = ceil_div(Symbol(f"{self.name}_bits") * elements, 8)
        return values


class _SymbolicWeights(_SymbolicFormat):
    """The same of weights, of which some are an expected number."""

    def _values(self, elements: Quantity) -> Quantity:
        whole, rest = Symbol(f"{self.name}_bytes"), Symbol(f"{self.name}_rest_bits")
        # Of values that are no whole bytes the last one is filled up, of others nothing is.
        values: Quantity = whole * elements + ceil_div(rest * elements, 8)
        return values


class _SymbolicPrecision(Precision):
    """Formats that are columns, and rates named after the operand whose format decides them."""

    def _common(self, other: Format) -> str:
        return other.name


def symbolic_precision(config: ModelConfig, autocast: bool, eager: bool) -> Precision:
    """Return the formats of a run as columns.

    Parameters
    ----------
    config
        The model: the format of what no workload quantises is its checkpoint's.
    autocast, eager
        Whether it runs under autocast, and whether every operation is a kernel of its own.
    """
    weight = _SymbolicWeights("weight", 16)
    activation, kv = (_SymbolicFormat(name, 16) for name in ("activation", "kv"))
    plain = plain_format(config)
    if plain:
        plain = dataclasses.replace(plain, name="bf16")  # the operand that it is
    kept = config.storage.kept
    return _SymbolicPrecision(weight, activation, kv, autocast, eager, plain, kept)
