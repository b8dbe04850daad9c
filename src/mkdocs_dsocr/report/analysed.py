"""Config, workload and hardware, analysed: all that a report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from mkdocs_dsocr.cost.memory import Array, StageMemory, fitting
from mkdocs_dsocr.cost.timed import StageTime, Timed
from mkdocs_dsocr.cost.totals import Node, Totals
from mkdocs_dsocr.cost.workload import WorkloadCost, workload_cost
from mkdocs_dsocr.inputs import Hardware, InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.config_file import unexpected
from mkdocs_dsocr.inputs.measurement import Measurement
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import Plan, Routing, compute_dtypes, formats_of
from mkdocs_dsocr.report import schema
from mkdocs_dsocr.report.latency import latency
from mkdocs_dsocr.report.measured import Comparison
from mkdocs_dsocr.report.measurement_plan import Batches
from mkdocs_dsocr.report.serving import serving

READING: Final = (
    "Estimate of a forward run: a kernel takes a minimum time plus the longest of its "
    "parts, a stage as long as its kernels or as the host that launches them."
)


@dataclasses.dataclass(frozen=True)
class Analysed:
    """A model, a workload and a GPU, analysed: the layer tree and what is read from it.

    Parameters
    ----------
    config, workload, hardware
        The inputs.
    source
        Where the workload was read, for messages.
    traced
        The module classes in the trace, where there was one.
    measurement
        What was measured of this workload on this GPU, if anything was.
    routing
        The routing of a trace, where formulas are compared with it.
    only_ends
        Whether each loop is counted at its first and last step only.
    """

    config: ModelConfig
    workload: Workload
    hardware: Hardware
    source: str = "workload"
    traced: frozenset[str] | None = None
    measurement: Measurement | None = None
    routing: Routing | None = None
    only_ends: bool = False

    @cached_property
    def cost(self) -> WorkloadCost:
        """The workload, counted; analyses of the same workload share it."""
        if self.routing is not None:
            return WorkloadCost(
                self.config, self.workload, self.source, self.routing, self.only_ends
            )
        return workload_cost(self.config, self.workload, self.source)

    @property
    def plan(self) -> Plan:
        return self.cost.plan

    def check_formats(self) -> None:
        """Refuse a format for which the GPU has no tensor cores.

        Raises
        ------
        InputError
            If there is one.
        """
        for dtype in sorted(compute_dtypes(self.config, self.workload)):
            if self.hardware.peak(dtype) is None:
                peaks = {d: self.hardware.peak(d) for d in FORMATS if d != "fp32"}  # CUDA cores
                known = ", ".join(name for name, peak in peaks.items() if peak is not None)
                raise InputError(
                    self.source,
                    "activation_dtype",
                    f"{self.plan.workload.activation_dtype}: products in {dtype}",
                    f"what the tensor cores of {self.hardware.hardware_id} know: {known}",
                )

    @property
    def report_id(self) -> str:
        return "--".join((self.config.variant, self.workload.profile_id, self.hardware.hardware_id))

    @property
    def activation_dtype(self) -> str:
        """The format of activations, of the workload or of the checkpoint."""
        return formats_of(self.config.storage, self.plan.workload).activation_dtype

    @property
    def notes(self) -> str:
        """How to read the estimate, and what the plan has to say."""
        return " ".join((READING, *self.plan.notes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the inputs is not modelled or not used, in sentences."""
        keys = unexpected(self.config.unused_keys)
        unused = (f"Keys of config.json that are not used: {', '.join(keys)}.",) if keys else ()
        return (*self.plan.warnings, *unused)

    @cached_property
    def timed(self) -> Timed:
        """The workload on the GPU."""
        return self.cost.on(self.hardware)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every node of the layer tree, by ``module_id``, parents first."""
        return self.timed.nodes

    @cached_property
    def root(self) -> Node:
        return next(iter(self.nodes.values()))

    @cached_property
    def classes(self) -> dict[str, list[Node]]:
        """The nodes of each module class (LMHead apart), in order of first appearance."""
        result: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.class_name != "Group":
                result.setdefault(node.class_name, []).append(node)
        return result

    @property
    def launches_experts(self) -> bool:
        """Whether the model's code loops over experts, and launches the kernels of each."""
        return any(node.visit.child.active is not None for node in self.nodes.values())

    @property
    def stage_times(self) -> Mapping[str, StageTime]:
        """Estimate and minimum time of each stage."""
        return self.timed.stages

    @property
    def stage_totals(self) -> Mapping[str, Totals]:
        """The figures of each stage."""
        return self.timed.totals

    def binding(self, node: Node) -> str:
        """Return what binds most of a node's time: the host, or a ceiling of the device."""
        stage = self.stage_times.get(node.stage)
        if stage is not None and stage.is_host_bound:
            return "host"
        return node.total.binding_ceiling

    @cached_property
    def predicted_ms(self) -> float:
        """The estimate of the whole workload."""
        return sum(s.time_ms for s in self.stage_times.values())

    @cached_property
    def floor_ms(self) -> float:
        """The minimum time: every weight read once per step, at peak rates."""
        return sum(s.floor_ms for s in self.stage_times.values())

    @cached_property
    def latency(self) -> schema.Latency:
        return latency(self.cost, self.hardware, self.stage_times)

    @cached_property
    def serving(self) -> schema.Serving | None:
        """Decode with many sequences at once."""
        if not any(run.stage == "decode" for run in self.plan.runs):
            return None
        needed = self.footprints(self.hardware.room_bytes)
        return serving(self.cost, self.hardware, needed)

    @property
    def stage_memory(self) -> dict[str, StageMemory]:
        """What is in memory in each stage, when it has most."""
        return self.cost.stage_memory

    def footprints(self, room_bytes: float) -> Array:
        """Return the bytes of the stage that needs most, up to the last batch that may fit."""
        return self.cost.footprints(room_bytes)

    @property
    def footprint_bytes(self) -> int:
        """Bytes of the stage that needs most memory."""
        return int(max(m.total for m in self.stage_memory.values()))

    @cached_property
    def largest_batch(self) -> int | None:
        """The largest batch that fits the GPU, None where none does."""
        return fitting(self.footprints(self.hardware.room_bytes), self.hardware.room_bytes)

    @cached_property
    def comparison(self) -> Comparison | None:
        """The measurement beside the prediction."""
        if self.measurement is None:
            return None
        return Comparison(self.measurement, self.cost, self.hardware, self.nodes, self.stage_times)

    @property
    def batches(self) -> Batches:
        """Which batches fit a memory, and what they run."""
        return Batches(self.plan, self.footprints)
