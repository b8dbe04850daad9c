"""Which activations are in memory when, and where a call has most of them.

Read from a layer's forward: a tensor is there from the step that writes it to
the last one that mentions it, an input from beginning to end (the caller holds
it). Weights, buffers and the KV cache are no activations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mkdocs_dsocr.layers.layer import Child, Layer, Step, once
from mkdocs_dsocr.layers.operations import Keep, Operation, Tensor
from mkdocs_dsocr.quantities import Quantity, exact_div, is_zero, maximum, total


@dataclass
class _Lifetime:
    """A storage: its tensor's name and bytes, and the steps between which it is there."""

    name: str
    bytes: Quantity
    first: int
    last: int
    is_named: bool
    is_input: bool


@dataclass(frozen=True)
class Moment:
    """A step of a forward, and what is in memory while it runs.

    Attributes
    ----------
    step
        An operation, or a child.
    live
        Name and bytes of each storage, less what a child counts as its own.
    beside
        Of them, the bytes that are beside all modules of a chain but the first.
    """

    step: Operation | Child
    live: tuple[tuple[str, Quantity], ...]
    beside: Quantity = 0

    @property
    def bytes(self) -> Quantity:
        """What the layer itself holds."""
        return total(size for _, size in self.live)

    @property
    def peak(self) -> Peak | None:
        """The peak of the child that runs, if one does."""
        if isinstance(self.step, Operation):
            return None
        child = self.step.biggest
        first, *others = moments(child) or (self,)
        if is_zero(self.beside) or _count(first) > 1:
            return peak(child)
        # What is beside the others is the first one's own input.
        return _larger(_peak(child, others), peak(child).less(self.beside))

    @property
    def total(self) -> Quantity:
        """The same, and what the child has at its peak."""
        return total((self.bytes, self.peak.bytes)) if self.peak else self.bytes


@dataclass(frozen=True)
class Peak:
    """The most activations at once in a call.

    Attributes
    ----------
    bytes
        Inputs, and what the call allocated.
    path
        Pattern of the module, below the one called, whose own operation runs then.
    operations, operation
        That module's own operations, and the one that runs; None where nothing runs. A layer
        keeps its peak, so a peak that kept the layer would keep both from being freed.
    """

    bytes: Quantity
    path: str
    operations: tuple[Operation, ...]
    operation: Operation | None

    def less(self, amount: Quantity) -> Peak:
        """Return the same with fewer bytes."""
        return Peak(self.bytes - amount, self.path, self.operations, self.operation)

    @property
    def at(self) -> str:
        """The module and the operation, in words; empty where nothing runs."""
        if self.operation is None:
            return ""
        return f"{self.path}: {self.operation.name}" if self.path else self.operation.name


@once
def moments(layer: Layer) -> tuple[Moment, ...]:
    """Return every operation and child of a layer, with what is in memory then."""
    found = []
    steps = layer.schedule
    lifetimes = _lifetimes(steps)
    for index, step in enumerate(steps):
        if isinstance(step, Keep) or (isinstance(step, Child) and not step.calls):
            continue
        live = {
            key: (life.name, life.bytes)
            for key, life in lifetimes.items()
            if life.first <= index <= life.last
        }
        beside: Quantity = 0
        if not isinstance(step, Operation):
            beside = _hand_over(step, index, lifetimes, live)
        found.append(Moment(step, tuple(live.values()), beside))
    return tuple(found)


@once
def peak(layer: Layer) -> Peak:
    """Return where a call of `layer` has most activations in memory: the first such place."""
    return _peak(layer, moments(layer))


def _peak(layer: Layer, chosen: Iterable[Moment]) -> Peak:
    """Return the largest of some moments of a layer."""
    own = tuple(layer.operations())
    result = Peak(0, "", own, None)
    for moment in chosen:
        inner = moment.peak
        if inner is None or isinstance(moment.step, Operation):
            result = _larger(result, Peak(moment.bytes, "", own, moment.step))  # type: ignore[arg-type]
        else:
            path = _below(moment.step, inner.path)
            result = _larger(result, Peak(moment.total, path, inner.operations, inner.operation))
    return result


def _count(moment: Moment) -> int:
    return 1 if isinstance(moment.step, Operation) else moment.step.count


def held_at_peak(layer: Layer, path: str = "") -> Iterator[tuple[str, str, int]]:
    """Yield who holds what when a call of `layer` has most activations: module, tensor, bytes."""
    moment = max(moments(layer), key=lambda m: m.total, default=None)  # type: ignore[arg-type,return-value]
    if moment is None:
        return
    yield from ((path, name, size) for name, size in moment.live if size)  # type: ignore[misc]
    if not isinstance(moment.step, Operation):
        yield from held_at_peak(moment.step.biggest, _below(moment.step, path, after=True))


def _below(child: Child, path: str, *, after: bool = False) -> str:
    """Return a path below a child (or, `after` it, the child's below a path)."""
    name = child.name if child.layer.is_module else ""
    return ".".join(p for p in ((path, name) if after else (name, path)) if p)


def dispatched(operations: Iterable[Operation]) -> list[Operation]:
    """Return a layer's own operations as often and in the order as they are dispatched.

    Neighbours with equally many launches are the body of a loop.
    """
    loops = itertools.groupby(operations, key=lambda o: o.launches)
    return [o for times, body in loops for o in list(body) * int(times)]


def _larger(a: Peak, b: Peak) -> Peak:
    if isinstance(a.bytes, int) and isinstance(b.bytes, int):
        return b if b.bytes > a.bytes else a
    return Peak(maximum(a.bytes, b.bytes), a.path, a.operations, a.operation)


class Storages(NamedTuple):
    """The activations of a forward: bytes of each by name, which are given, which returned."""

    bytes: dict[str, Quantity]
    inputs: list[str]
    outputs: list[str]


def storages(steps: tuple[Step, ...]) -> Storages:
    """Return the storages that a forward mentions; what its last step writes it returns."""
    lifetimes = _lifetimes(steps)
    running = [s for s in steps if not isinstance(s, Keep)]
    returned = [t.view_of or t.name for t in (running[-1].writes if running else ())]
    inputs = [key for key, life in lifetimes.items() if life.is_input]
    return Storages({k: life.bytes for k, life in lifetimes.items()}, inputs, returned)


def _lifetimes(steps: tuple[Step, ...]) -> dict[str, _Lifetime]:
    """Return the lifetime of each storage, by the name of the tensor that has it."""
    result: dict[str, _Lifetime] = {}
    for index, step in enumerate(steps):
        for tensor, is_written in _mentions(step):
            if tensor.role != "activation":
                continue
            key = tensor.view_of or tensor.name
            launches = step.launches if isinstance(step, Operation) and is_written else 1
            size = _at_once(tensor, launches)
            life = result.get(key)
            if life is None:
                first, last = (index, index) if is_written else (0, len(steps))
                result[key] = _Lifetime(
                    key, size, first, last, is_named=not tensor.view_of, is_input=not is_written
                )
                continue
            life.last = max(life.last, index)
            if not life.is_named and not tensor.view_of:
                life.bytes, life.is_named = size, True
    return result


def _at_once(tensor: Tensor, launches: Quantity) -> Quantity:
    """Return the bytes of a tensor; what several launches write, they write one by one."""
    one = isinstance(launches, int) and launches == 1
    size: Quantity = tensor.bytes if one else exact_div(tensor.bytes, launches)
    return size


def _mentions(step: Step) -> Iterator[tuple[Tensor, bool]]:
    """Yield the tensors of a step, and whether it writes them; what it reads comes first."""
    if isinstance(step, Keep):
        yield from ((tensor, False) for tensor in step.tensors)
        return
    yield from ((tensor, False) for tensor in step.reads)
    yield from ((tensor, True) for tensor in step.writes)


def _hand_over(
    child: Child,
    index: int,
    lifetimes: dict[str, _Lifetime],
    live: dict[str, tuple[str, Quantity]],
) -> Quantity:
    """Take out of `live` what a child counts itself: its inputs and outputs.

    The first input of a chain is that of its first module only: where the caller
    holds it, it is beside all the others. Further inputs go to every module.

    Returns
    -------
    The bytes of that first input.
    """
    beside: Quantity = 0
    links = [c.count for c in child.biggest.children() if c.repetition == "for"]
    several = child.biggest.is_chain and sum(links) > 1
    for tensor, _ in _mentions(child):
        key = tensor.view_of or tensor.name
        if several and tensor is child.reads[0] and lifetimes[key].last > index:
            beside = tensor.bytes
            continue
        name, size = live[key]
        live[key] = (name, size - tensor.bytes)
    return beside
