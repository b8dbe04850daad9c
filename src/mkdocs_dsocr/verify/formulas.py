"""Compares the formulas of every node of a report with the counts of a trace."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.inputs.model_config import Storage
from mkdocs_dsocr.layers import memory
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import Trace, TracedPeak
from mkdocs_dsocr.verify.counts import Counts

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


def _releases(trace: Trace) -> str:
    others = " and ".join(f"{name} {version}" for name, version in trace.packages.items())
    return f"PyTorch {trace.torch_version}" + (f" with {others}" if others else "")


def verify(analyses: list[Analysis], trace: Trace) -> Verification:
    """Compare every node of every analysis with the trace.

    Raises
    ------
    LookupError
        If the trace lacks a pass that an analysis runs.
    """
    counter, analyses = Counts(trace), [_as_traced(analysis) for analysis in analyses]
    rows = tuple(row for analysis in analyses for row in _rows(analysis, counter))
    layers = {node.class_name for a in analyses for node in a.cost.nodes.values()}
    return Verification(
        device=trace.device,
        traced_by=_releases(trace),
        rows=rows,
        caches=tuple(row for analysis in analyses for row in _caches(analysis, counter)),
        classes=tuple(_verdicts(analyses[0], rows, trace)),
        other=tuple(sorted({m.class_name for m in trace.modules} - layers)),
        unknown_operators=tuple(sorted({o for p in trace.passes for o in p.unknown_operators})),
    )


def _as_traced(analysis: Analysis) -> Analysis:
    """Return the analysis in 16 bits, which the traced modules have whatever is stored."""
    plain = dict.fromkeys(("weight_dtype", "activation_dtype", "kv_dtype"), "bf16")
    storage = Storage()
    is_plain = not analysis.config.storage.kept and analysis.config.storage.dtype == storage.dtype
    if is_plain and plain.items() <= analysis.plan.workload.model_dump().items():
        return analysis
    workload = analysis.workload.model_copy(update=plain)
    config = analysis.config.model_copy(update={"storage": storage})
    return dataclasses.replace(analysis, workload=workload, config=config)


def _rows(analysis: Analysis, counter: Counts) -> Iterator[Row]:
    """Yield a row for each node, the formulas given the routing of the trace.

    On a real device the routing differs from step to step, so each loop is compared at the two
    steps that were traced. On ``meta`` it is balanced in every step, and the sums are compared.
    """
    model = model_of(analysis.config)
    routing = {
        shape: model.traced_load(analysis.config, counter.record(shape).matmul_flops)
        for shape in analysis.plan.shapes
        if shape.part == "language"
    }
    is_real = counter.device != "meta"
    routed = dataclasses.replace(analysis, routing=routing, only_ends=is_real)
    for module_id, node in routed.cost.nodes.items():
        if node.class_name == "Group":
            continue
        pattern, pass_id, total = node.visit.torch_path, node.visit.pass_id, node.total
        runs = [
            run for run in routed.plan.runs if run.calls and pass_id in (run.first.pass_id, "model")
        ]
        formulas = {
            "matmul_flops": total.matmul_flops,
            "elementwise_flops": total.flops - total.matmul_flops,
            "eager_bytes": total.eager_io_bytes,
            "dispatches": total.dispatches,
        }
        compared = {
            metric: Pair(
                formulas[metric],
                sum(counter.run(run, pattern, metric) for run in runs),
            )
            for metric in SUMMED
        }
        peak, counted = node.visit.peak, counter.peak(runs, pattern)
        compared["peak_bytes"] = Pair(peak.bytes, counted.bytes)  # type: ignore[arg-type]
        place = _place(pattern, peak, counted)
        yield Row(analysis.workload.profile_id, module_id, node.class_name, compared, place)


def _place(pattern: str, peak: memory.Peak, counted: TracedPeak) -> Place:
    """Return where a peak stands by formula and in the trace, and whether it is the same."""
    if peak.operation is None:
        return Place("", "", counted.bytes == 0)
    path = ".".join(p for p in (pattern, peak.path) if p)
    order = memory.dispatched(peak.operations)
    same = counted.operator < len(order) and order[counted.operator] is peak.operation
    agrees = same and counted.path in expand(path)
    return Place(
        f"{path}: {peak.operation.name}", f"{counted.path}: operator {counted.operator}", agrees
    )


def _caches(analysis: Analysis, counter: Counts) -> Iterator[CacheRow]:
    for pass_id in ("prefill", "decode"):
        shapes = [r.last for r in analysis.plan.runs if r.last.pass_id == pass_id]
        if shapes:
            yield CacheRow(
                analysis.workload.profile_id,
                pass_id,
                analysis.cost.nodes[pass_id].total.kvcache_bytes,
                max(counter.record(shape).kvcache_bytes for shape in shapes),
            )


def _verdicts(analysis: Analysis, rows: tuple[Row, ...], trace: Trace) -> Iterator[ClassVerdict]:
    traced = {m.path: m.parameters for m in trace.modules}
    for name, nodes in analysis.classes.items():
        mine = [r for r in rows if r.class_name == name]
        expected = dict(_parameters(nodes))
        counted = {
            f"{path}.{parameter}": shape
            for path in {p for n in nodes for p in expand(n.visit.torch_path)}
            for parameter, shape in traced.get(path, {}).items()
        }
        wrong = {k for k in expected.keys() | counted.keys() if expected.get(k) != counted.get(k)}
        yield ClassVerdict(
            class_name=name,
            nodes=len(mine),
            wrong_nodes=sum(not r.agrees for r in mine),
            wrong={m: sum(bool(r.compared[m].difference) for r in mine) for m in METRICS},
            compared=_of_all(mine),
            tensors=len(counted),
            wrong_tensors=len(wrong),
            wrong_places=sum(not r.peak_at.agrees for r in mine),
            parameters_formula=sum(math.prod(s) for s in expected.values()),
            parameters_counted=sum(math.prod(s) for s in counted.values()),
        )


def _of_all(rows: list[Row]) -> dict[str, Pair]:
    """Return the sum over rows of what adds up, and the largest peak."""
    sums = {m: sum((r.compared[m] for r in rows), Pair(0, 0)) for m in SUMMED}
    peaks = [r.compared["peak_bytes"] for r in rows]
    largest = max(peaks, key=lambda p: (p.formula, p.counted), default=Pair(0, 0))
    return {**sums, "peak_bytes": largest}


def _parameters(nodes: list[Node]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for node in nodes:
        for path in expand(node.visit.torch_path):
            for parameter in node.visit.layer.parameters():
                yield f"{path}.{parameter.name}", tuple(int(s) for s in parameter.shape)  # type: ignore[arg-type]
