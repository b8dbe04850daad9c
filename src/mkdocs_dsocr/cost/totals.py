"""The layer tree evaluated: what each node amounts to, without and with its children."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from mkdocs_dsocr.cost.time import CEILINGS
from mkdocs_dsocr.layers import figures, metrics
from mkdocs_dsocr.layers.figures import FIGURES
from mkdocs_dsocr.layers.products import TILE
from mkdocs_dsocr.layers.tree import NodeVisit
from mkdocs_dsocr.quantities import Quantity, arithmetic_series

PERIOD: Final = max(TILE)
"""Steps after which every side of a 16-bit tile fits again: each divides the largest."""
SUMMED: Final = figures.keys("calls")
RESIDENT: Final = figures.keys("modules")


@dataclass
class Family:
    """What the kernels of one operator family amount to."""

    calls: int = 0
    flops: int = 0
    io_bytes: int = 0
    device_time_ms: float = 0.0


@dataclass
class Totals:
    """The figures of one or several nodes, and their times.

    A figure is read as an attribute by its key in :data:`mkdocs_dsocr.layers.figures.FIGURES`.

    Attributes
    ----------
    counts
        Figures that are summed over calls, by key.
    resident
        Figures of modules that are in memory once, by key and module path.
    activation_bytes
        The largest peak of activations.
    families
        Kernels by operator family.
    device_by_ceiling
        Device time in ms under each of :data:`mkdocs_dsocr.cost.time.CEILINGS`.
    causal_ms
        Products at the dense peak, masked pairs left out.
    host_time_ms
        Launches and waits.
    time_ms
        The predicted time: the host's where the stage is host-bound, otherwise the device's.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED, 0))
    resident: dict[str, dict[str, int]] = field(
        default_factory=lambda: {key: {} for key in RESIDENT}
    )
    activation_bytes: int = 0
    families: dict[str, Family] = field(default_factory=dict)
    device_by_ceiling: list[float] = field(default_factory=lambda: [0.0] * len(CEILINGS))
    causal_ms: float = 0.0
    host_time_ms: float = 0.0
    time_ms: float = 0.0

    def __getattr__(self, key: str) -> int:
        if key in SUMMED:
            return self.counts[key]
        if key in RESIDENT:
            return sum(self.resident[key].values())
        raise AttributeError(key)

    @property
    def flops(self) -> int:
        """FLOPs on tensor and CUDA cores."""
        return self.tensor_core_flops + self.cuda_core_flops

    @property
    def device_time_ms(self) -> float:
        """The sum of the kernels."""
        return sum(self.device_by_ceiling)

    @property
    def device_time_by_ceiling_ms(self) -> dict[str, float]:
        """The kernels' time by the ceiling that binds each."""
        return dict(zip(CEILINGS, self.device_by_ceiling, strict=True))

    @property
    def binding_ceiling(self) -> str:
        """The ceiling that binds most of the device time."""
        return CEILINGS[self.device_by_ceiling.index(max(self.device_by_ceiling))]

    def figures(self) -> dict[str, int]:
        """Return every figure of the report by key, in the order of the table."""
        return {key: getattr(self, key) for key, f in FIGURES.items() if f.in_report}

    def add(self, other: Totals) -> None:
        """Add work and times, keep the largest peak, and count each module's memory once."""
        for key, amount in other.counts.items():
            self.counts[key] += amount
        for key, modules in other.resident.items():
            mine = self.resident[key]
            for path, amount in modules.items():
                mine[path] = max(mine.get(path, 0), amount)
        self.activation_bytes = max(self.activation_bytes, other.activation_bytes)
        for name, family in other.families.items():
            sum_ = self.families.setdefault(name, Family())
            sum_.calls += family.calls
            sum_.flops += family.flops
            sum_.io_bytes += family.io_bytes
        self.add_times(other)

    def add_times(self, other: Totals) -> None:
        """Add times alone; every family of `other` is known here."""
        pairs = zip(self.device_by_ceiling, other.device_by_ceiling, strict=True)
        self.device_by_ceiling = [a + b for a, b in pairs]
        self.causal_ms += other.causal_ms
        self.host_time_ms += other.host_time_ms
        self.time_ms += other.time_ms
        for name, family in other.families.items():
            self.families[name].device_time_ms += family.device_time_ms

    def untimed(self) -> Totals:
        """Return a copy whose times can be set without a change to these totals."""
        families = {name: dataclasses.replace(f) for name, f in self.families.items()}
        return dataclasses.replace(self, families=families)


@dataclass
class Node:
    """A node of the tree: where it stands, what it is, and what it amounts to.

    `visit` is the one, of those with its ``module_id``, whose activations take most memory.
    `own` leaves children out, `total` includes them.
    """

    visit: NodeVisit
    calls: int = 0
    own: Totals = field(default_factory=Totals)
    total: Totals = field(default_factory=Totals)
    children: list[str] = field(default_factory=list)

    @property
    def class_name(self) -> str:
        return self.visit.layer.class_name()

    @property
    def peak_at(self) -> str:
        """The module, below this one, and the operation at which activations are most."""
        return self.visit.peak.at

    @property
    def stage(self) -> str:
        return stage_of(self.visit)


def stage_of(visit: NodeVisit) -> str:
    """Return the stage in which a layer runs; ``other`` for the whole model."""
    stage = visit.pass_id.partition(".")[0]
    return "other" if stage == "model" else stage


def count(visits: Iterable[NodeVisit]) -> dict[str, Node]:
    """Return every node of a walk by ``module_id``, parents first, without times."""
    nodes: dict[str, Node] = {}
    for visit in visits:
        node = nodes.setdefault(visit.module_id, Node(visit))
        if visit is not node.visit and _bytes_at_peak(visit) > _bytes_at_peak(node.visit):
            node.visit = visit
        node.own.add(_own(visit))
        node.calls += _integer(visit.runs)
        parent = nodes.get(visit.parent_id or "")
        if parent is not None and visit.module_id not in parent.children:
            parent.children.append(visit.module_id)
    for node in nodes.values():
        node.total.activation_bytes = _bytes_at_peak(node.visit)
    add_children(nodes)
    return nodes


def add_children(nodes: dict[str, Node]) -> None:
    """Add every node's own totals to its `total` and to those of all nodes above it."""
    for node in reversed(nodes.values()):
        node.total.add(node.own)
        if node.visit.parent_id is not None:
            nodes[node.visit.parent_id].total.add(node.total)


def merged(totals: Iterable[Totals]) -> Totals:
    """Return the sum of several totals."""
    result = Totals()
    for item in totals:
        result.add(item)
    return result


def _bytes_at_peak(visit: NodeVisit) -> int:
    return _integer(visit.peak.bytes)


def _own(visit: NodeVisit) -> Totals:
    """Return what a layer's own operations amount to over all calls."""
    path, modules = visit.torch_path, visit.modules
    activations = _integer(metrics.activation_bytes(visit.largest)) if visit.calls else 0
    result = Totals(activation_bytes=activations)
    for key in SUMMED:
        amount = _padded(visit) if key == "padded_tensor_core_flops" else FIGURES[key].of(visit)
        result.counts[key] = _integer(amount)
    for key in RESIDENT:
        result.resident[key] = {path: modules * _integer(FIGURES[key].metric(visit.last))}
    runs = _integer(visit.runs)
    for low, high in zip(visit.layer.kernels(), visit.last.kernels(), strict=True):
        flops, moved = (
            _integer(modules * visit.calls * visit.series(a, b))
            for a, b in (
                (
                    low.tensor_core_flops + low.cuda_core_flops,
                    high.tensor_core_flops + high.cuda_core_flops,
                ),
                (low.io_bytes, high.io_bytes),
            )
        )
        family = result.families.setdefault(low.category, Family())
        family.calls += runs
        family.flops += flops
        family.io_bytes += moved
    return result


def _padded(visit: NodeVisit) -> int:
    """Return the padded FLOPs over all calls.

    Padding grows in jumps; steps that are a tile apart grow evenly, so each
    such class of steps is an arithmetic series.
    """
    first, last = visit.layer, visit.last
    growing = {
        f.name: (low, getattr(last, f.name) - low)
        for f in dataclasses.fields(first)
        if isinstance(low := getattr(first, f.name), int) and getattr(last, f.name) != low
    }
    times = visit.modules * visit.calls
    if not growing:
        amount = times * visit.steps * metrics.padded_tensor_core_flops(first)
        # The mean of a trace's routing may be no whole number of experts.
        return round(amount) if isinstance(amount, Fraction) else _integer(amount)
    import numpy

    def at(step: Any) -> Any:
        grown = {n: a + d * step // (visit.steps - 1) for n, (a, d) in growing.items()}
        return metrics.padded_tensor_core_flops(dataclasses.replace(first, **grown))

    period = PERIOD * 16 // (first.precision.fewest_bits if first.precision else 16)
    # As objects: integers of Python do not overflow.
    starts = numpy.arange(min(period, visit.steps)).astype(object)
    counts: Any = (visit.steps - starts + period - 1) // period
    series = arithmetic_series(at(starts), at(starts + period * (counts - 1)), counts)
    return times * int(numpy.sum(series))


def _integer(quantity: Quantity) -> int:
    if isinstance(quantity, Fraction) and quantity.denominator == 1:
        return quantity.numerator
    if not isinstance(quantity, int):
        raise TypeError(f"expected an integer, got {quantity!r}")
    return quantity
