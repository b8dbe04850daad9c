"""A workload on a GPU: times of its stages, and of every node of its layer tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mkdocs_dsocr.cost.kernels import Array, KernelTimes
from mkdocs_dsocr.cost.rates import MsPer
from mkdocs_dsocr.cost.time import CEILINGS, stage_ms
from mkdocs_dsocr.cost.totals import Node, Totals


@dataclass(frozen=True)
class StageTime:
    """Times of a stage or a pass, in ms.

    Attributes
    ----------
    device_ms
        The sum of its kernels, each under the ceiling that binds it.
    host_ms
        Launches and waits × what they cost the host.
    floor_ms
        The minimum time.
    ceiling
        What binds most of the device time.
    """

    device_ms: float
    host_ms: float
    floor_ms: float
    ceiling: str

    @property
    def is_host_bound(self) -> bool:
        """Whether the device waits for the host."""
        return self.host_ms > self.device_ms

    @property
    def time_ms(self) -> float:
        """The estimate."""
        return max(self.device_ms, self.host_ms)

    @property
    def binding(self) -> str:
        return "host" if self.is_host_bound else self.ceiling


def stage_time(
    counts: Mapping[str, int],
    by_ceiling: list[float],
    causal_ms: float,
    per: MsPer,
    replays: int = 0,
) -> StageTime:
    """Return the times of a stage or a pass.

    Parameters
    ----------
    counts
        Its ``dispatches``, ``host_syncs`` and ``compulsory_io_bytes``.
    by_ceiling, causal_ms
        The sums of its kernels; see :class:`mkdocs_dsocr.cost.kernels.KernelTimes`.
    per
        The GPU and its host.
    replays
        The number of CUDA graph launches that stand for all launches and waits; 0 for none.
    """
    found = stage_ms(counts, sum(by_ceiling), causal_ms, per, bool(replays), replays)
    return StageTime(
        device_ms=float(found["device_time_ms"]),
        host_ms=float(found["host_time_ms"]),
        floor_ms=float(found["floor_time_ms"]),
        ceiling=CEILINGS[by_ceiling.index(max(by_ceiling))],
    )


@dataclass(frozen=True)
class Timed:
    """A workload on a GPU.

    Attributes
    ----------
    stages
        The times of each stage.
    counted, counted_stages
        Every node by ``module_id``, parents first, and the sum of each stage's nodes: without
        times.
    families
        The operator family of each column of `times`.
    times
        A row for each node.
    host
        ``[nodes]``: the host's time in ms.
    """

    stages: Mapping[str, StageTime]
    counted: dict[str, Node]
    counted_stages: dict[str, Totals]
    families: list[str]
    times: KernelTimes
    host: Array

    @cached_property
    def own_ms(self) -> dict[str, float]:
        """The estimate of each node without its children."""
        host, device = self.host.tolist(), self.times.by_ceiling.sum(axis=1).tolist()
        bound = {stage for stage, times in self.stages.items() if times.is_host_bound}
        return {
            name: host[i] if node.stage in bound else device[i]
            for i, (name, node) in enumerate(self.counted.items())
        }

    @cached_property
    def total_ms(self) -> dict[str, float]:
        """The estimate of each node, children included."""
        result = dict.fromkeys(self.counted, 0.0)
        for name, node in reversed(self.counted.items()):
            result[name] += self.own_ms[name]
            if node.visit.parent_id is not None:
                result[node.visit.parent_id] += result[name]
        return result

    @cached_property
    def totals(self) -> dict[str, Totals]:
        """The sum of each stage's nodes, with times."""
        result = {stage: counts.untimed() for stage, counts in self.counted_stages.items()}
        for name, node in self.counted.items():
            if node.stage in result:
                result[node.stage].add_times(self._own[name])
        for stage, times in self.stages.items():
            result[stage].time_ms = times.time_ms
        return result

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node of the layer tree, by ``module_id``, parents first."""
        nodes = {
            name: dataclasses.replace(node, own=self._own[name], total=node.total.untimed())
            for name, node in self.counted.items()
        }
        for node in reversed(nodes.values()):
            node.total.add_times(node.own)
            if node.visit.parent_id is not None:
                nodes[node.visit.parent_id].total.add_times(node.total)
        return nodes

    @cached_property
    def _own(self) -> dict[str, Totals]:
        """Every node's totals without its children."""
        by_ceiling, by_family = self.times.by_ceiling.tolist(), self.times.by_family.tolist()
        causal, host = self.times.causal.tolist(), self.host.tolist()
        result = {name: node.own.untimed() for name, node in self.counted.items()}
        for i, (name, totals) in enumerate(result.items()):
            totals.device_by_ceiling, totals.causal_ms = by_ceiling[i], causal[i]
            totals.host_time_ms, totals.time_ms = host[i], self.own_ms[name]
            for family, ms in zip(self.families, by_family[i], strict=True):
                if family in totals.families:
                    totals.families[family].device_time_ms = ms
        return result
