"""Formulas against the trace: every node of the report beside what PyTorch counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.quantities import arithmetic_series
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.tally import Node
from mkdocs_dsocr.trace import PassRecord, PassShape, Trace


@dataclass(frozen=True)
class Row:
    """One node: FLOPs by formula and as counted, over all its calls in the workload."""

    workload: str
    module_id: str
    class_name: str
    formula: int
    counted: int

    @property
    def difference(self) -> int:
        return self.formula - self.counted


@dataclass(frozen=True)
class ClassVerdict:
    """All nodes of one class, and the parameters of its modules."""

    class_name: str
    nodes: int
    formula: int
    counted: int
    wrong_nodes: int
    tensors: int
    wrong_tensors: int
    parameters_formula: int
    parameters_counted: int

    @property
    def difference(self) -> int:
        return self.formula - self.counted

    @property
    def agrees(self) -> bool:
        return not self.wrong_nodes and not self.wrong_tensors


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
    device, torch_version
        Where and with what the trace was made.
    rows, caches
        Every node and every cache compared.
    classes
        The same by module class.
    other
        Traced classes that have no analytic layer.
    """

    device: str
    torch_version: str
    rows: tuple[Row, ...]
    caches: tuple[CacheRow, ...]
    classes: tuple[ClassVerdict, ...]
    other: tuple[str, ...]

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement; empty where everything agrees."""
        wrong = {r.class_name: r for r in self.rows if r.difference}
        result = [
            f"{name}: {row.module_id} comes to {row.formula:,} FLOPs by formula and "
            f"{row.counted:,} as counted, a difference of {row.difference:+,}"
            for name, row in wrong.items()
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


def verify(analyses: list[Analysis], trace: Trace) -> Verification:
    """Compare every node of every analysis with the trace.

    Raises
    ------
    LookupError
        If the trace lacks a pass that an analysis runs.
    """
    counter = _Counter(trace)
    rows = tuple(row for analysis in analyses for row in _rows(analysis, counter))
    layers = {name for analysis in analyses for name in analysis.classes}
    return Verification(
        device=trace.device,
        torch_version=trace.torch_version,
        rows=rows,
        caches=tuple(row for analysis in analyses for row in _caches(analysis, counter)),
        classes=tuple(_verdicts(analyses[0], rows, trace)),
        other=tuple(sorted({m.class_name for m in trace.modules} - layers)),
    )


class _Counter:
    """Looks FLOPs up in a trace by pass and path pattern."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.children: dict[str, list[str]] = {}
        for module in trace.modules:
            if module.path:
                self.children.setdefault(module.path.rpartition(".")[0], []).append(module.path)

    def record(self, shape: PassShape) -> PassRecord:
        record = self.trace.find(shape)
        if record is None:
            raise LookupError(f"the trace has no pass {shape}")
        return record

    def flops(self, shape: PassShape, pattern: str) -> int:
        record = self.record(shape)
        return sum(self._inclusive(record, path) for path in expand(pattern))

    def _inclusive(self, record: PassRecord, path: str) -> int:
        """Return a module's FLOPs; a module that was not called is the sum of its children."""
        if path in record.matmul_flops:
            return record.matmul_flops[path]
        return sum(self._inclusive(record, child) for child in self.children.get(path, ()))


def _rows(analysis: Analysis, counter: _Counter) -> Iterator[Row]:
    for module_id, node in analysis.nodes.items():
        if node.class_name == "Group":
            continue
        counted = 0
        for run in analysis.plan.runs:
            if node.visit.pass_id not in (run.first.pass_id, "model"):
                continue
            first, last = (
                counter.flops(shape, node.visit.torch_path) for shape in (run.first, run.last)
            )
            counted += run.calls * (
                first if run.steps == 1 else arithmetic_series(first, last, run.steps)
            )
        yield Row(
            analysis.workload.profile_id,
            module_id,
            node.class_name,
            node.total.matmul_flops,
            counted,
        )


def _caches(analysis: Analysis, counter: _Counter) -> Iterator[CacheRow]:
    for pass_id in ("prefill", "decode"):
        shapes = [r.last for r in analysis.plan.runs if r.last.pass_id == pass_id]
        if shapes:
            yield CacheRow(
                analysis.workload.profile_id,
                pass_id,
                sum(analysis.nodes[pass_id].total.kvcache.values()),
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
            formula=sum(r.formula for r in mine),
            counted=sum(r.counted for r in mine),
            wrong_nodes=sum(1 for r in mine if r.difference),
            tensors=len(counted),
            wrong_tensors=len(wrong),
            parameters_formula=sum(_elements(s) for s in expected.values()),
            parameters_counted=sum(_elements(s) for s in counted.values()),
        )


def _parameters(nodes: list[Node]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for node in nodes:
        for path in expand(node.visit.torch_path):
            for parameter in node.visit.layer.parameters():
                yield f"{path}.{parameter.name}", tuple(int(s) for s in parameter.shape)  # type: ignore[arg-type]


def _elements(shape: tuple[int, ...]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result
