"""Formulas against the trace: every node of the report beside what was counted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from mkdocs_dsocr.models import Run
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.quantities import arithmetic_series
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.tally import Node
from mkdocs_dsocr.trace import PassRecord, PassShape, Trace

Counts: TypeAlias = Callable[[PassRecord], dict[str, int]]


@dataclass(frozen=True)
class Flops:
    """FLOPs by formula and as counted."""

    formula: int
    counted: int

    @property
    def difference(self) -> int:
        return self.formula - self.counted

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.formula + other.formula, self.counted + other.counted)


@dataclass(frozen=True)
class Row:
    """One node, children included, over all its calls in the workload.

    Attributes
    ----------
    matmul
        Against PyTorch's ``FlopCounterMode``.
    elementwise
        All other arithmetic, against the operators that were dispatched.
    """

    workload: str
    module_id: str
    class_name: str
    matmul: Flops
    elementwise: Flops

    @property
    def agrees(self) -> bool:
        return not self.matmul.difference and not self.elementwise.difference


@dataclass(frozen=True)
class ClassVerdict:
    """All nodes of one class, and the parameters of its modules."""

    class_name: str
    nodes: int
    wrong_nodes: int
    matmul: Flops
    elementwise: Flops
    tensors: int
    wrong_tensors: int
    parameters_formula: int
    parameters_counted: int

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
    unknown_operators
        Dispatched operators that the table of costs lacks.
    """

    device: str
    torch_version: str
    rows: tuple[Row, ...]
    caches: tuple[CacheRow, ...]
    classes: tuple[ClassVerdict, ...]
    other: tuple[str, ...]
    unknown_operators: tuple[str, ...]

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement; empty where everything agrees."""
        result = [
            f"{row.class_name}: {row.module_id} comes to {flops.formula:,} {kind} FLOPs by formula "
            f"and {flops.counted:,} as counted, a difference of {flops.difference:+,}"
            for row in {r.class_name: r for r in self.rows if not r.agrees}.values()
            for kind, flops in (("matmul", row.matmul), ("elementwise", row.elementwise))
            if flops.difference
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
        unknown_operators=tuple(sorted({o for p in trace.passes for o in p.unknown_operators})),
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

    def run(self, run: Run, pattern: str, what: Counts) -> int:
        """Return what was counted for `pattern` over all calls and steps of a run."""
        first, last = (
            sum(self._inclusive(what(self.record(shape)), path) for path in expand(pattern))
            for shape in (run.first, run.last)
        )
        once: int = first if run.steps == 1 else arithmetic_series(first, last, run.steps)
        return run.calls * once

    def _inclusive(self, flops: dict[str, int], path: str) -> int:
        """Return a module's FLOPs; a module that was not called is the sum of its children."""
        if path in flops:
            return flops[path]
        return sum(self._inclusive(flops, child) for child in self.children.get(path, ()))


def _rows(analysis: Analysis, counter: _Counter) -> Iterator[Row]:
    for module_id, node in analysis.nodes.items():
        if node.class_name == "Group":
            continue
        pattern, pass_id = node.visit.torch_path, node.visit.pass_id
        runs = [r for r in analysis.plan.runs if pass_id in (r.first.pass_id, "model")]
        total = node.total
        yield Row(
            analysis.workload.profile_id,
            module_id,
            node.class_name,
            Flops(
                total.matmul_flops,
                sum(counter.run(run, pattern, lambda p: p.matmul_flops) for run in runs),
            ),
            Flops(
                total.flops - total.matmul_flops,
                sum(counter.run(run, pattern, lambda p: p.elementwise_flops) for run in runs),
            ),
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
            wrong_nodes=sum(not r.agrees for r in mine),
            matmul=sum((r.matmul for r in mine), Flops(0, 0)),
            elementwise=sum((r.elementwise for r in mine), Flops(0, 0)),
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
