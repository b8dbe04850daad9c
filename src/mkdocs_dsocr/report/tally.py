"""The layer tree evaluated: what each node comes to, without and with its children."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers import metrics
from mkdocs_dsocr.layers.operations import TILE
from mkdocs_dsocr.layers.tree import Visit
from mkdocs_dsocr.quantities import Quantity, arithmetic_series
from mkdocs_dsocr.report.kernels import Kernels, Times
from mkdocs_dsocr.report.timing import CEILINGS

PERIOD: Final = max(TILE)
"""Steps after which every side of a 16-bit tile fits again: each divides the largest."""


@dataclass
class Family:
    """What the kernels of one operator family come to."""

    calls: int = 0
    flops: int = 0
    io_bytes: int = 0
    time_ms: float = 0.0


@dataclass
class Tally:
    """Counts over all calls; memory by module path, so that a module is there once."""

    matmul_flops: int = 0
    tensor_core_flops: int = 0
    cuda_core_flops: int = 0
    io_bytes: int = 0
    eager_bytes: int = 0
    least_bytes: int = 0
    least_tensor_core_flops: int = 0
    least_tensor_ms: float = 0.0
    padded_tensor_core_flops: int = 0
    dispatches: int = 0
    synchronisations: int = 0
    activation_bytes: int = 0
    weights: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    kvcache: dict[str, int] = field(default_factory=dict)
    times_ms: list[float] = field(default_factory=lambda: [0.0] * len(CEILINGS))
    families: dict[str, Family] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        return self.tensor_core_flops + self.cuda_core_flops

    @property
    def time_ms(self) -> float:
        return sum(self.times_ms)

    @property
    def time_by_ceiling_ms(self) -> dict[str, float]:
        return dict(zip(CEILINGS, self.times_ms, strict=True))

    @property
    def binding_ceiling(self) -> str:
        return CEILINGS[self.times_ms.index(max(self.times_ms))]

    def integers(self) -> dict[str, int]:
        """Return the integers that the report gives for every node, stage and class."""
        return {
            "matmul_flops": self.matmul_flops,
            "tensor_core_flops": self.tensor_core_flops,
            "cuda_core_flops": self.cuda_core_flops,
            "io_bytes": self.io_bytes,
            "eager_io_bytes": self.eager_bytes,
            "compulsory_io_bytes": self.least_bytes,
            "causal_tensor_core_flops": self.least_tensor_core_flops,
            "padded_tensor_core_flops": self.padded_tensor_core_flops,
            "dispatches": self.dispatches,
            "synchronisations": self.synchronisations,
            "weight_bytes": sum(self.weights.values()),
            "activation_bytes": self.activation_bytes,
            "kvcache_bytes": sum(self.kvcache.values()),
        }

    def add(self, other: Tally) -> None:
        """Add work, keep peaks, and count each module's memory once."""
        self.matmul_flops += other.matmul_flops
        self.tensor_core_flops += other.tensor_core_flops
        self.cuda_core_flops += other.cuda_core_flops
        self.io_bytes += other.io_bytes
        self.eager_bytes += other.eager_bytes
        self.least_bytes += other.least_bytes
        self.least_tensor_core_flops += other.least_tensor_core_flops
        self.least_tensor_ms += other.least_tensor_ms
        self.padded_tensor_core_flops += other.padded_tensor_core_flops
        self.dispatches += other.dispatches
        self.synchronisations += other.synchronisations
        self.activation_bytes = max(self.activation_bytes, other.activation_bytes)
        for mine, theirs in (
            (self.weights, other.weights),
            (self.parameters, other.parameters),
            (self.kvcache, other.kvcache),
        ):
            for path, amount in theirs.items():
                mine[path] = max(mine.get(path, 0), amount)
        self.times_ms = [a + b for a, b in zip(self.times_ms, other.times_ms, strict=True)]
        for name, family in other.families.items():
            sum_ = self.families.setdefault(name, Family())
            sum_.calls += family.calls
            sum_.flops += family.flops
            sum_.io_bytes += family.io_bytes
            sum_.time_ms += family.time_ms


@dataclass
class Node:
    """A node of the tree: where it stands, what it is, what it comes to.

    `visit` is the one, of those with its ``module_id``, whose activations take most memory.
    """

    visit: Visit
    calls: int = 0
    own: Tally = field(default_factory=Tally)
    total: Tally = field(default_factory=Tally)
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


def stage_of(visit: Visit) -> str:
    """Return the stage in which a layer runs; ``other`` for what holds them all."""
    stage = visit.pass_id.partition(".")[0]
    return "other" if stage == "model" else stage


def tally(visits: Iterable[Visit]) -> dict[str, Node]:
    """Count every node of a walk, by ``module_id``, parents first."""
    nodes: dict[str, Node] = {}
    for visit in visits:
        node = nodes.setdefault(visit.module_id, Node(visit))
        if visit is not node.visit and _bytes_at_peak(visit) > _bytes_at_peak(node.visit):
            node.visit = visit
        own, calls = _own(visit)
        node.own.add(own)
        node.calls += calls
        parent = nodes.get(visit.parent_id or "")
        if parent is not None and visit.module_id not in parent.children:
            parent.children.append(visit.module_id)
    for node in reversed(nodes.values()):
        node.total.add(node.own)
        peak = _bytes_at_peak(node.visit)
        node.total.activation_bytes = max(node.total.activation_bytes, peak)
        if node.visit.parent_id is not None:
            nodes[node.visit.parent_id].total.add(node.total)
    return nodes


def _bytes_at_peak(visit: Visit) -> int:
    return _integer(visit.peak.bytes)


def timed(counted: dict[str, Node], kernels: Kernels, hardware: Hardware) -> dict[str, Node]:
    """Return nodes that were counted, with the time that they take on a GPU."""
    places = {module_id: index for index, module_id in enumerate(counted)}
    own = kernels.timed(hardware)
    total = own.with_children([places.get(n.visit.parent_id or "") for n in counted.values()])

    def at(times: Times, index: int, work: Tally) -> Tally:
        families = {
            name: dataclasses.replace(family, time_ms=ms)
            for name, ms in zip(kernels.families, times.by_family[index].tolist(), strict=True)
            if (family := work.families.get(name))
        }
        return dataclasses.replace(
            work,
            families=families,
            times_ms=times.by_ceiling[index].tolist(),
            least_tensor_ms=float(times.least_tensor[index]),
        )

    return {
        module_id: dataclasses.replace(
            node, own=at(own, index, node.own), total=at(total, index, node.total)
        )
        for index, (module_id, node) in enumerate(counted.items())
    }


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of several tallies."""
    result = Tally()
    for item in tallies:
        result.add(item)
    return result


def _own(visit: Visit) -> tuple[Tally, int]:
    """Return what a layer's own operations come to over all calls, and the calls."""
    first, last = visit.layer.kernels(), visit.last.kernels()
    path, times = visit.torch_path, visit.modules * visit.calls
    calls = _integer(visit.runs)
    result = Tally(
        matmul_flops=_integer(visit.summed(metrics.matmul_flops)),
        eager_bytes=_integer(visit.summed(metrics.eager_bytes)),
        least_bytes=_integer(visit.summed(metrics.least_bytes)),
        least_tensor_core_flops=_integer(visit.summed(metrics.least_tensor_core_flops)),
        padded_tensor_core_flops=_padded(visit),
        dispatches=_integer(visit.dispatches()),
        synchronisations=_integer(visit.summed(metrics.synchronisations)),
        activation_bytes=_integer(metrics.activation_bytes(visit.largest)) if visit.calls else 0,
        weights={path: visit.modules * _integer(metrics.weight_bytes(visit.last))},
        parameters={path: visit.modules * _integer(metrics.num_parameters(visit.last))},
        kvcache={path: visit.modules * _integer(metrics.kvcache_bytes(visit.last))},
    )
    for low, high in zip(first, last, strict=True):
        tensor = times * visit.series(low.tensor_core_flops, high.tensor_core_flops)
        cuda = times * visit.series(low.cuda_core_flops, high.cuda_core_flops)
        moved = times * visit.series(low.io_bytes, high.io_bytes)
        family = Family(calls, _integer(tensor + cuda), _integer(moved))
        result.add(
            Tally(
                tensor_core_flops=_integer(tensor),
                cuda_core_flops=_integer(cuda),
                io_bytes=family.io_bytes,
                families={low.category: family},
            )
        )
    return result, calls


def _padded(visit: Visit) -> int:
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
