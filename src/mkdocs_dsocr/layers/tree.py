"""Walks over a tree of layers, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mkdocs_dsocr.layers import memory, metrics
from mkdocs_dsocr.layers.layer import Child, Layer
from mkdocs_dsocr.layers.operations import whole
from mkdocs_dsocr.quantities import Quantity, arithmetic_series, largest, total


@dataclass(frozen=True)
class NodeVisit:
    """A layer met on a walk, and how often it stands there.

    Attributes
    ----------
    pass_id, torch_path
        The pass in which it runs, and the pattern of module paths it stands for.
    parent_id
        ``module_id`` of the caller.
    layer, last, steps
        As in :class:`Child`: first and last of an arithmetic series of calls.
    largest
        The layer of the largest call of any one module.
    modules
        How often `layer` stands in the model.
    instances
        How many modules of the model it is (more where it holds several).
    active, last_active
        Modules that run each time, of those that one `layer` holds: in the
        first and in the last of the series.
    calls
        How often `layer` runs each step.
    child
        The edge by which it was reached.
    """

    pass_id: str
    torch_path: str
    parent_id: str | None
    layer: Layer
    last: Layer
    largest: Layer
    steps: int
    modules: int
    instances: int
    active: Quantity
    last_active: Quantity
    calls: int
    child: Child

    @property
    def peak(self) -> memory.Peak:
        """The peak of activations in the largest call, if there is any."""
        return memory.peak(self.largest) if self.calls else memory.Peak(0, "", (), None)

    @property
    def module_id(self) -> str:
        return f"{self.pass_id}/{self.torch_path}" if self.torch_path else self.pass_id

    def summed(self, metric: metrics.MetricOf) -> Quantity:
        """Return what its own operations come to over all calls."""
        return self.modules * self.calls * self.series(metric(self.layer), metric(self.last))

    @property
    def runs(self) -> Quantity:
        """How many calls of modules it comes to (expected, where `active` is)."""
        return whole(self.modules * self.calls * self.series(self.active, self.last_active))

    @property
    def starts(self) -> tuple[Quantity, Quantity]:
        """How often a kernel starts in a call, in the first and in the last of the series.

        Once for each module that runs; where kernels are fused, once for all of them.
        """
        precision = self.layer.precision
        is_fused = precision is None or not precision.eager
        return (1, 1) if is_fused else (self.active, self.last_active)

    def launched(self, metric: metrics.MetricOf = metrics.dispatches) -> Quantity:
        """Return how many operators, or kernels, its own code launches over all calls."""
        is_kernels = metric is metrics.kernel_launches
        starts = self.starts if is_kernels else (self.active, self.last_active)
        first, last = starts[0] * metric(self.layer), starts[1] * metric(self.last)
        return whole(self.modules * self.calls * self.series(first, last))

    def series(self, first: Quantity, last: Quantity) -> Quantity:
        return first if self.steps == 1 else arithmetic_series(first, last, self.steps)


def walk(root: Layer, name: str = "model") -> Iterator[NodeVisit]:
    """Yield `root` and every layer under it, parents first."""
    top = Child(name, root)
    yield from _walk(NodeVisit(name, "", None, root, root, root, 1, 1, 1, 1, 1, 1, top))


def _walk(visit: NodeVisit) -> Iterator[NodeVisit]:
    yield visit
    stages = (visit.layer, visit.last, visit.largest)
    for child, end, most in zip(*(layer.children() for layer in stages), strict=True):
        group = not child.layer.is_module
        segments = () if group else (visit.torch_path, child.name)
        yield from _walk(
            NodeVisit(
                pass_id=child.name if group else visit.pass_id,
                torch_path=".".join(s for s in segments if s),
                parent_id=visit.module_id,
                layer=child.layer,
                last=child.last or end.layer,
                largest=most.biggest,
                steps=child.steps * visit.steps,
                modules=visit.modules * (child.count if child.active is None else 1),
                instances=visit.instances * child.count,
                active=visit.active * _active(child),
                last_active=visit.last_active * _active(end),
                calls=visit.calls * child.calls,
                child=child,
            )
        )


def _active(child: Child) -> Quantity:
    return 1 if child.active is None else child.active


def summed(root: Layer, metric: metrics.MetricOf) -> Quantity:
    """Return `metric` summed over every call under `root`."""
    return total(v.summed(metric) for v in walk(root))


def dispatched(root: Layer) -> Quantity:
    """Return the operators dispatched in every call under `root`."""
    return total(v.launched() for v in walk(root))


def resident(root: Layer, metric: metrics.MetricOf) -> Quantity:
    """Return `metric` summed over modules: one that runs in several passes is there once."""
    modules: dict[str, list[Quantity]] = {}
    for visit in walk(root):
        modules.setdefault(visit.torch_path, []).append(visit.modules * metric(visit.last))
    return total(largest(iter(values)) for values in modules.values())
