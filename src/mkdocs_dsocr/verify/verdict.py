"""The verdict on formulas: what was compared, and where formulas and trace differ."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

METRICS: Final = {
    "matmul_flops": "matmul FLOPs",
    "elementwise_flops": "elementwise FLOPs (CUDA cores)",
    "eager_bytes": "bytes of the operators",
    "dispatches": "dispatched operators",
    "peak_bytes": "bytes of activations at the peak",
}
"""What is compared node by node, and its name in a sentence."""
SUMMED: Final = ("matmul_flops", "elementwise_flops", "eager_bytes", "dispatches")
"""Those that add up over modules, calls and steps."""


@dataclass(frozen=True)
class Pair:
    """A figure by formula and as counted."""

    formula: int
    counted: int

    @property
    def difference(self) -> int:
        return self.formula - self.counted

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.formula + other.formula, self.counted + other.counted)


@dataclass(frozen=True)
class Place:
    """Where the activations stand at their peak: by formula, and as counted."""

    formula: str
    counted: str
    agrees: bool


@dataclass(frozen=True)
class Row:
    """One node, children included, over all its calls in the workload.

    Attributes
    ----------
    compared
        A pair for each of :data:`METRICS`; the peak is that of the largest call.
    peak_at
        The operation at which the peak stands.
    """

    workload: str
    module_id: str
    class_name: str
    compared: dict[str, Pair]
    peak_at: Place

    @property
    def agrees(self) -> bool:
        return self.peak_at.agrees and not any(p.difference for p in self.compared.values())


@dataclass(frozen=True)
class ClassVerdict:
    """All nodes of one class (those that differ, in all and by figure), and its parameters."""

    class_name: str
    nodes: int
    wrong_nodes: int
    wrong: dict[str, int]
    compared: dict[str, Pair]
    tensors: int
    wrong_tensors: int
    wrong_places: int
    parameters_formula: int
    parameters_counted: int

    @property
    def agrees(self) -> bool:
        return not self.wrong_nodes and not self.wrong_tensors

    def agree_in(self, metrics: Iterable[str]) -> bool:
        return not any(self.wrong[metric] for metric in metrics)


@dataclass(frozen=True)
class CacheRow:
    """The KV cache after a pass, in bytes."""

    workload: str
    pass_id: str
    formula: int
    counted: int


@dataclass(frozen=True)
class Verification:
    """The verdict of one build.

    Attributes
    ----------
    device, traced_by
        Where and with which releases the trace was made.
    rows, caches
        Every node and every cache compared.
    classes
        The same by module class.
    other
        Traced classes that have no analytic layer.
    unknown_operators
        Dispatched operators that the table of costs lacks.
    """

    device: str
    traced_by: str
    rows: tuple[Row, ...]
    caches: tuple[CacheRow, ...]
    classes: tuple[ClassVerdict, ...]
    other: tuple[str, ...]
    unknown_operators: tuple[str, ...]

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement; empty where everything agrees."""
        result = [
            f"{row.class_name}: {row.module_id} comes to {pair.formula:,} {METRICS[metric]} by "
            f"formula and {pair.counted:,} as counted, a difference of {pair.difference:+,}"
            for row in {r.class_name: r for r in self.rows if not r.agrees}.values()
            for metric, pair in row.compared.items()
            if pair.difference
        ]
        result += [
            f"{row.class_name}: {row.module_id} has its peak of activations at "
            f"{row.peak_at.formula} by formula and at {row.peak_at.counted} as counted"
            for row in {r.class_name: r for r in self.rows if not r.peak_at.agrees}.values()
        ]
        result += [
            f"the operator {name} was dispatched and has no cost" for name in self.unknown_operators
        ]
        result += [
            f"{c.class_name}: {c.wrong_tensors} parameter tensors differ from the trace"
            for c in self.classes
            if c.wrong_tensors
        ]
        return result + [
            f"KV cache of {c.pass_id}: {c.formula:,} bytes by formula, {c.counted:,} as counted"
            for c in self.caches
            if c.formula != c.counted
        ]

    @cached_property
    def by_class(self) -> dict[str, ClassVerdict]:
        return {c.class_name: c for c in self.classes}

    def to_json(self) -> str:
        """Return the verdict as JSON, rows included."""
        data: dict[str, Any] = dataclasses.asdict(self)
        data["agrees"] = not self.failures
        data["failures"] = self.failures
        return json.dumps(data, indent=1) + "\n"
