"""Compares formulas with a trace of the checkpoint's own modules, and lists other operators."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassShape, Trace
from mkdocs_dsocr.verify.formulas import verify
from mkdocs_dsocr.verify.verdict import Verification

EXACT = "matmul_flops"
"""The metric that must agree. The others may differ; the differences are listed by operator."""


@dataclass(frozen=True)
class OperatorDifference:
    """An operator that the own code of a class dispatches more often in one of the two models.

    Counted in one run of each pass that was traced.
    """

    class_name: str
    operator: str
    reference_calls: int
    vendor_calls: int
    reference_bytes: int
    vendor_bytes: int

    @property
    def bytes(self) -> int:
        return self.vendor_bytes - self.reference_bytes


@dataclass(frozen=True)
class VendorVerdict:
    """What a trace of the checkpoint's own modules says.

    Attributes
    ----------
    verification
        The formulas of every node compared with that trace.
    traced_as
        The checkpoint's name of each class that has another one here.
    operators
        What makes bytes and dispatches differ.
    """

    verification: Verification
    traced_as: dict[str, str]
    operators: tuple[OperatorDifference, ...]

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement in FLOPs, parameters or KV cache."""
        rows = {r.class_name: r for r in self.verification.rows if r.compared[EXACT].difference}
        result = [
            f"the checkpoint's own {row.class_name}: {row.module_id} comes to "
            f"{row.compared[EXACT].formula:,} matmul FLOPs by formula and "
            f"{row.compared[EXACT].counted:,} as counted"
            for row in rows.values()
        ]
        result += [
            f"the checkpoint's own {c.class_name}: {c.wrong_tensors} parameter tensors differ"
            for c in self.verification.classes
            if c.wrong_tensors
        ]
        return result + [
            f"the checkpoint's own KV cache of {c.pass_id}: {c.formula:,} bytes by formula, "
            f"{c.counted:,} as counted"
            for c in self.verification.caches
            if c.formula != c.counted
        ]

    @property
    def attention_is_eager(self) -> bool:
        """Whether scores are operators of their own there, and one fused kernel here."""
        return any(
            d.operator == "scaled_dot_product_attention" and not d.vendor_calls
            for d in self.operators
        )

    @cached_property
    def by_class(self) -> dict[str, list[OperatorDifference]]:
        result: dict[str, list[OperatorDifference]] = {}
        for difference in self.operators:
            result.setdefault(difference.class_name, []).append(difference)
        return result

    def to_json(self) -> str:
        """Return the verdict as JSON."""
        data: dict[str, Any] = dataclasses.asdict(self)
        data["verification"] = json.loads(self.verification.to_json())
        data |= {"agrees": not self.failures, "failures": self.failures}
        return json.dumps(data, indent=1) + "\n"


def as_vendor_runs(analysis: Analysis) -> Analysis:
    """Return the analysis as the checkpoint's code runs it: plain modules, every logit."""
    changes = {"logits_positions": "all", "precision_mode": "module"}
    workload = analysis.workload.model_copy(update=changes)
    return dataclasses.replace(analysis, workload=workload)


def compare_vendor(analyses: list[Analysis], reference: Trace, vendor: Trace) -> VendorVerdict:
    """Compare formulas with a trace of the checkpoint's modules, and that with the reference's.

    Raises
    ------
    LookupError
        If the trace lacks a pass.
    """
    runs = [as_vendor_runs(analysis) for analysis in analyses]
    names = _names(reference, vendor)
    verification = verify(runs, vendor)
    other = sorted(set(verification.other) - names.keys())
    return VendorVerdict(
        verification=dataclasses.replace(verification, other=tuple(other)),
        traced_as={ours: theirs for theirs, ours in sorted(names.items())},
        operators=tuple(_differences(reference, vendor, names)),
    )


def _names(reference: Trace, vendor: Trace) -> dict[str, str]:
    """Return our name of each class that stands at the same paths under another one."""
    ours = {m.path: m.class_name for m in reference.modules}
    known = set(ours.values())
    return {
        m.class_name: ours[m.path]
        for m in vendor.modules
        if m.path in ours and m.class_name not in known
    }


def _differences(
    reference: Trace, vendor: Trace, names: dict[str, str]
) -> Iterator[OperatorDifference]:
    shapes = {p.shape for p in vendor.passes}
    lacking = shapes - {p.shape for p in reference.passes}
    if lacking:
        raise LookupError(f"no pass {lacking.pop()} of the reference")
    ours, theirs = (_work(t, names, shapes) for t in (reference, vendor))
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key, (0, 0)), theirs.get(key, (0, 0))
        if mine != other:
            yield OperatorDifference(*key, mine[0], other[0], mine[1], other[1])


def _work(
    trace: Trace, names: dict[str, str], shapes: set[PassShape]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the calls and bytes by class and operator."""
    calls: Counter[tuple[str, str]] = Counter()
    moved: Counter[tuple[str, str]] = Counter()
    for record in trace.passes:
        for class_name, operators in record.operators.items() if record.shape in shapes else ():
            for operator, (count, size) in operators.items():
                key = (names.get(class_name, class_name), operator)
                calls[key] += count
                moved[key] += size
    return {key: (calls[key], moved[key]) for key in calls}
