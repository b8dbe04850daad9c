"""The rows of a layer page's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Totals
from mkdocs_dsocr.layers.layer import Dimension

Table = Literal["operations", "kernels", "eager"]
"""The tables of a form whose rows have a formula each."""


@dataclass(frozen=True)
class Formula:
    """A formula in symbols, the same with numbers, and its value."""

    symbols: Markup
    numbers: Markup
    value: int
    unit: str


@dataclass(frozen=True)
class OperationRow:
    """An operation of the layer, its FLOPs, and the bytes that it touches when it runs alone."""

    name: str
    family: str
    formulas: tuple[Formula, ...]
    eager: Formula
    why: str


@dataclass(frozen=True)
class ChildRow:
    """A layer that the layer calls."""

    name: str
    class_name: str
    count: int
    repetition: str
    runs: int
    arguments: Markup
    numbers: Markup
    flops: int


@dataclass(frozen=True)
class KernelRow:
    """A fused kernel and the bytes that cross its border."""

    name: str
    operations: tuple[str, ...]
    formula: Formula


@dataclass(frozen=True)
class SymbolRow:
    """A symbol of the legend."""

    symbol: Markup
    dimension: Dimension
    field: str
    value: str


@dataclass(frozen=True)
class TotalRow:
    """A total over the layer and its children.

    Attributes
    ----------
    table
        The table that its terms stand in.
    formula, numbers
        The collected formula, and the same with numbers; none if it is too long to read.
    parts
        The formula term by term, as the code writes it, if that is longer.
    """

    name: str
    value: int
    unit: str
    table: Table = "operations"
    formula: Markup | None = None
    numbers: Markup | None = None
    parts: Markup | None = None


@dataclass(frozen=True)
class LiveRow:
    """A tensor that is in memory at the peak, or a child and what it has there."""

    name: str
    class_name: str
    formula: Formula | None
    bytes: int


@dataclass(frozen=True)
class PeakRows:
    """What is in memory when a call has most activations."""

    at: str
    rows: tuple[LiveRow, ...]
    bytes: int


@dataclass(frozen=True)
class StageRow:
    """A class in a stage.

    Attributes
    ----------
    stage, calls
        The stage, and how often it calls the class.
    total, own
        Figures with children, and without.
    is_host_bound
        Whether the stage waits for the host.
    """

    stage: str
    calls: int
    total: Totals
    own: Totals
    is_host_bound: bool

    def bound(self, figures: Totals) -> str:
        """Return what binds most of the time of `figures`; nothing where they take none."""
        if not figures.time_ms:
            return ""
        return "host" if self.is_host_bound else figures.binding_ceiling
