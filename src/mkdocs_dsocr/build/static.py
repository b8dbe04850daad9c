"""What the static analysis found, and its files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.files import read_text
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import ModuleRecord, PassShape, Trace
from mkdocs_dsocr.verify.formulas import Verifier

Analyses = tuple[tuple[Analysis, ...], ...]
Shown = tuple[int, int]
"""Which analysis is shown: the places of its workload and of its GPU."""
LARGEST: Final = 100_000_000
"""Bytes of a trace."""
TRACE: Final = "trace.json"
VENDOR: Final = "vendor-trace.json"
OPERATORS: Final = "target-operators.json"
TORCHINFO: Final = (
    OPERATORS,
    "torchinfo-layers.json",
    "torchinfo-stages.json",
    "torchinfo-summary.txt",
    "torchinfo-unique-layers.json",
    "torchinfo-unique-layers.md",
)
"""Files of torchinfo, which no page needs."""


@dataclass(frozen=True)
class StaticAnalysis:
    """What the static analysis found.

    Attributes
    ----------
    trace
        What was counted on the reference model.
    artifacts
        Its files by name, traces included.
    device_reason
        Where it ran, in words.
    vendor
        What was counted on the checkpoint's own modules, where the user trusts them.
    is_shipped
        Whether it came with the package, and this machine traced nothing.
    """

    trace: Trace
    artifacts: dict[str, str]
    device_reason: str
    vendor: Trace | None = None
    is_shipped: bool = False

    @property
    def classes(self) -> frozenset[str]:
        """The module classes that the model is made of."""
        return classes_of(self.trace.modules)

    @cached_property
    def verifier(self) -> Verifier:
        """What compares formulas with the trace."""
        return Verifier(self.trace)


def classes_of(modules: Iterable[ModuleRecord]) -> frozenset[str]:
    """Return the classes of modules, without the model's own."""
    return frozenset(m.class_name for m in modules if m.path)


def from_artifacts(artifacts: dict[str, str], reason: str) -> StaticAnalysis:
    """Return the static analysis whose files these are."""
    vendor = Trace.from_json(artifacts[VENDOR]) if VENDOR in artifacts else None
    return StaticAnalysis(Trace.from_json(artifacts[TRACE]), artifacts, reason, vendor)


def named(artifacts: dict[str, str], analyses: Analyses) -> dict[str, str]:
    """Return the files of a trace, which stays as it is, with the workload's name of today."""
    if OPERATORS not in artifacts:
        return artifacts
    operators = json.loads(artifacts[OPERATORS])
    operators["snapshot_id"] = analyses[0][0].workload.profile_id
    return artifacts | {OPERATORS: json.dumps(operators, indent=1) + "\n"}


def load_static(folder: Path) -> StaticAnalysis:
    """Read what ``dsocr static`` wrote.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    artifacts = {}
    further = [VENDOR] if (folder / VENDOR).exists() else []
    for name in (TRACE, *further):
        artifacts[name] = read_text(folder / name, LARGEST)
    try:
        return from_artifacts(artifacts, "read from a file")
    except ValueError as error:
        raise InputError(folder, "", str(error).splitlines()[0], "dsocr static's files") from error


def distinct_shapes(analyses: Analyses) -> tuple[PassShape, ...]:
    """Return every shape that the workloads run, once."""
    return tuple(dict.fromkeys(shape for row in analyses for shape in row[0].plan.shapes))
