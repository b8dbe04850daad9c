"""What has to run on a device before a workload's prediction can be set beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mkdocs_dsocr.cost.memory import Array, fitting
from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.inputs.measurement import Measurement
from mkdocs_dsocr.models import Plan, Run
from mkdocs_dsocr.trace import PassShape


@dataclass(frozen=True)
class Task:
    """A pass to be measured, and its modules: ``module_id`` and pattern of paths."""

    shape: PassShape
    modules: tuple[tuple[str, str], ...] = ()


def tasks(plan: Plan, nodes: Mapping[str, Node]) -> list[Task]:
    """Return what has to be run: each pass; a loop at its first, middle and last step.

    Modules are timed once a run: in a loop at its middle step.
    """
    result: dict[PassShape, Task] = {}
    for run in plan.called:
        modules = tuple(
            (module_id, node.visit.torch_path)
            for module_id, node in nodes.items()
            if node.visit.pass_id == run.first.pass_id and node.visit.torch_path
        )
        for shape in points(run):
            inner = modules if shape == middle(run) else ()
            if inner or shape not in result:
                result[shape] = Task(shape, inner)
    return list(result.values())


def middle(run: Run) -> PassShape:
    """Return the shape of the middle step of a loop (of its only one)."""
    return run.at(run.middle)


def points(run: Run) -> tuple[PassShape, PassShape, PassShape]:
    """Return the shapes at which a run is measured: first, middle and last step."""
    return run.first, middle(run), run.last


def check_covers(plan: Plan, measurement: Measurement) -> None:
    """Check that everything a workload runs was measured.

    Raises
    ------
    LookupError
        If a pass was not measured at the workload's sizes.
    """
    for run in plan.called:
        for shape in points(run):
            measurement.find(shape)


@dataclass(frozen=True)
class Batches:
    """Which batches of a workload fit a memory, by the memory model, and what they run.

    Parameters
    ----------
    plan
        The workload.
    footprints
        Returns, for a memory in bytes, the bytes that each batch from 1 on needs.
    """

    plan: Plan
    footprints: Callable[[float], Array]

    def largest(self, memory_bytes: int) -> int:
        """Return the largest batch that fits; 0 where none does."""
        return fitting(self.footprints(memory_bytes), memory_bytes) or 0

    def shapes(self, batch: int) -> list[PassShape]:
        """Return each pass that holds a whole batch, at its last step."""
        found = (run.last_at(batch) for run in self.plan.runs if run.follows_batch)
        return list(dict.fromkeys(found))
