"""Compares the formulas of every node of a report with the counts of a trace."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

from mkdocs_dsocr.cost.totals import Node
from mkdocs_dsocr.inputs import ModelConfig, Workload
from mkdocs_dsocr.inputs.model_config import Storage
from mkdocs_dsocr.layers import memory
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import Trace, TracedPeak
from mkdocs_dsocr.verify.counts import Counts
from mkdocs_dsocr.verify.verdict import (
    METRICS,
    SUMMED,
    CacheRow,
    ClassVerdict,
    Pair,
    Place,
    Row,
    Verification,
)


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
    return Verifier(trace).verify(analyses)


class _Compared(NamedTuple):
    """What was compared of one workload, and its layers by name."""

    rows: tuple[Row, ...]
    caches: tuple[CacheRow, ...]
    layers: frozenset[str]


class Verifier:
    """Compares workloads with one trace; one that comes again is not compared again."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self._counts = trace, Counts(trace)
        self._known: dict[tuple[ModelConfig, Workload], _Compared] = {}

    def verify(self, analyses: list[Analysis]) -> Verification:
        """Return the verdict on analyses of one model; see :func:`verify`."""
        every = [_as_traced(analysis) for analysis in analyses]
        # Only what the last call compared is kept.
        self._known = {(a.config, a.workload): self._compared(a) for a in every}
        found, trace = self._known.values(), self._trace
        rows = tuple(row for workload in found for row in workload.rows)
        layers = {name for workload in found for name in workload.layers}
        return Verification(
            device=trace.device,
            traced_by=_releases(trace),
            rows=rows,
            caches=tuple(row for workload in found for row in workload.caches),
            classes=tuple(_verdicts(every[0], rows, trace)),
            other=tuple(sorted({m.class_name for m in trace.modules} - layers)),
            unknown_operators=tuple(sorted({o for p in trace.passes for o in p.unknown_operators})),
        )

    def _compared(self, analysis: Analysis) -> _Compared:
        known = self._known.get((analysis.config, analysis.workload))
        if known is not None:
            return known
        routed = _routed(analysis, self._counts)
        rows = tuple(_rows(routed, self._counts))
        caches = tuple(_caches(routed, self._counts))
        names = frozenset(node.class_name for node in routed.cost.nodes.values())
        return _Compared(rows, caches, names)


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


def _routed(analysis: Analysis, counter: Counts) -> Analysis:
    """Return the analysis with the routing of the trace.

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
    return dataclasses.replace(analysis, routing=routing, only_ends=is_real)


def _rows(routed: Analysis, counter: Counts) -> Iterator[Row]:
    """Yield a row for each node."""
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
        yield Row(routed.workload.profile_id, module_id, node.class_name, compared, place)


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


def _caches(routed: Analysis, counter: Counts) -> Iterator[CacheRow]:
    for pass_id in ("prefill", "decode"):
        shapes = [r.last for r in routed.plan.runs if r.last.pass_id == pass_id]
        if shapes:
            yield CacheRow(
                routed.workload.profile_id,
                pass_id,
                routed.cost.nodes[pass_id].total.kvcache_bytes,
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
