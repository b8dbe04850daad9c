"""Two reports beside each other: what moved, by how much, and what moved it.

Counts are evaluated for both workloads with the formulas as they are now: what these explain
was moved by the input, the rest by a formula.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from mkdocs_dsocr.cost.totals import Node, merged
from mkdocs_dsocr.cost.workload import workload_cost
from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.report.migration import migrated
from mkdocs_dsocr.report.saved import as_config, as_workload
from mkdocs_dsocr.report.schema import AnalyticModelReport, OCRWorkloadProfile

Cause = Literal["formula", "input", "hardware", "model"]
COUNTS: Final = (
    "matmul_flops",
    "tensor_core_flops",
    "cuda_core_flops",
    "io_bytes",
    "eager_io_bytes",
    "dispatches",
    "weight_bytes",
    "activation_bytes",
    "kvcache_bytes",
)
LARGEST: Final = 50_000_000
WORDS: Final = ("description", "notes", "source", "config_path", "device_names")
"""What the names of keys end with that say nothing of a figure."""
TOLERANCE: Final = 1e-9
"""Relative difference below which a time has not moved."""
SECTIONS: Final[Mapping[str, Cause]] = {
    "model": "model",
    "workload": "input",
    "hardware": "hardware",
}


@dataclass(frozen=True)
class Change:
    """A figure that moved.

    Attributes
    ----------
    what, figure
        A module class (or ``model``), and which of its figures.
    before, now
        Its value; None where there is none.
    causes
        What moved it.
    """

    what: str
    figure: str
    before: float | None
    now: float | None
    causes: tuple[Cause, ...]

    @property
    def share(self) -> float | None:
        """By how much it moved, of what it was."""
        if not self.before or self.now is None:
            return None
        return self.now / self.before - 1


@dataclass(frozen=True)
class Changes:
    """All that differs between two reports.

    Attributes
    ----------
    before, now
        Their ids.
    inputs
        Inputs that differ: section, key, what it was, what it is.
    figures
        Figures that moved.
    compared
        How many figures were compared.
    recorded
        When the earlier report was written, where it says so.
    """

    before: str
    now: str
    inputs: tuple[tuple[str, str, str, str], ...] = ()
    figures: tuple[Change, ...] = ()
    compared: int = 0
    recorded: str | None = None

    @cached_property
    def by_class(self) -> dict[str, list[Change]]:
        """The figures of each class."""
        result: dict[str, list[Change]] = {}
        for change in self.figures:
            result.setdefault(change.what, []).append(change)
        return result


def load_report(path: Path) -> AnalyticModelReport:
    """Read a ``report.json``, or that of a folder that ``dsocr analyze`` wrote.

    Raises
    ------
    InputError
        If it is none.
    """
    path = path / "report.json" if os.path.isdir(path) else path
    return validate(AnalyticModelReport, migrated(read_mapping(path, LARGEST)), path)


def compare(
    before: AnalyticModelReport, now: AnalyticModelReport, config: ModelConfig | None = None
) -> Changes:
    """Return what moved between two reports.

    Parameters
    ----------
    before, now
        The reports. Inputs that `before` does not state are not compared.
    config
        The model of `now`; where not given, what the report says of it.
    """
    inputs = tuple(_inputs(before, now))
    moved = dict.fromkeys(SECTIONS[section] for section, *_ in inputs)
    explained = _Explained(before, now, config) if "input" in moved else None
    figures: list[Change] = []
    old, new = ({c.class_name: c for c in report.layers} for report in (before, now))
    names = dict.fromkeys((*old, *new))
    for name in names:
        figures += _of_class(name, old.get(name), new.get(name), moved, explained)
    causes = dict.fromkeys((*moved, *(cause for change in figures for cause in change.causes)))
    of_model = _of_model(before, now)
    figures = [*_totals(of_model, tuple(causes)), *figures]
    compared = len(of_model) + len(names) * (len(COUNTS) + 1)
    return Changes(
        before.report_id, now.report_id, inputs, tuple(figures), compared, before.generated_at
    )


def _inputs(
    before: AnalyticModelReport, now: AnalyticModelReport
) -> Iterator[tuple[str, str, str, str]]:
    """Yield what differs. A key that an earlier schema does not have is no input that moved."""
    for section in SECTIONS:
        old, new = (getattr(report, section).model_dump(mode="json") for report in (before, now))
        stated = getattr(before, section).model_fields_set
        was, is_now = (_flat({k: v for k, v in s.items() if k in stated}) for s in (old, new))
        for key in dict.fromkeys((*was, *is_now)):
            if was.get(key) != is_now.get(key):
                yield section, key, _word(was.get(key)), _word(is_now.get(key))


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a section by their path, without words."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        entries: Any = ()
        if isinstance(value, dict):
            entries = value.items()
        elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            entries = enumerate(value)
        for key, inner in entries:
            if not str(key).endswith(WORDS):
                yield from walk(inner, f"{path}.{key}" if path else str(key))
        if not entries:
            yield path, value

    return dict(walk(dict(section), ""))


def _word(value: Any) -> str:
    """Return a value as a file states it."""
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_model(
    before: AnalyticModelReport, now: AnalyticModelReport
) -> dict[str, tuple[float | None, float | None]]:
    """Return the figures of the whole model, as they were and as they are."""
    return {
        "time, ms": (before.predicted_total_time_ms, now.predicted_total_time_ms),
        "floor, ms": (before.floor_total_time_ms, now.floor_total_time_ms),
        "time to first token, ms": (before.latency.ttft_ms, now.latency.ttft_ms),
        "time per output token, ms": (before.latency.tpot_middle_ms, now.latency.tpot_middle_ms),
        "pages per second": (before.latency.pages_per_s, now.latency.pages_per_s),
        "memory needed, bytes": (before.memory.footprint_bytes, now.memory.footprint_bytes),
    }


def _totals(
    of_model: Mapping[str, tuple[float | None, float | None]], causes: tuple[Cause, ...]
) -> Iterator[Change]:
    """Yield the figures of the whole model that moved; whatever moved anything moved them."""
    for figure, (old, new) in of_model.items():
        if _differs(old, new):
            yield Change("model", figure, old, new, causes or ("formula",))


def _of_class(
    name: str, old: Any, new: Any, moved: Mapping[Cause, None], explained: _Explained | None
) -> Iterator[Change]:
    causes: dict[Cause, None] = {}
    for figure in COUNTS:
        a, b = (getattr(c, figure) if c is not None else None for c in (old, new))
        if (a or 0) == (b or 0):
            continue  # a figure that is new and 0, or is gone and was 0, is no change
        if "model" in moved:
            mine: tuple[Cause, ...] = ("model",)
        else:
            mine = explained.causes(name, figure, a or 0, b or 0) if explained else ("formula",)
        causes |= dict.fromkeys(mine)
        yield Change(name, figure, a, b, mine)
    a, b = (c.total_time_ms if c is not None else None for c in (old, new))
    if _differs(a, b):
        if "hardware" in moved:
            causes["hardware"] = None
        yield Change(name, "total_time_ms", a, b, tuple(causes) or ("formula",))


def _differs(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return bool(old or new)
    return abs(new - old) > TOLERANCE * max(abs(old), abs(new))


class _Explained:
    """What the formulas of today say of both workloads."""

    def __init__(
        self, before: AnalyticModelReport, now: AnalyticModelReport, config: ModelConfig | None
    ) -> None:
        try:
            model = config or as_config(now, Path("report.json"))
            self._sides = [_counts(model, r.workload) for r in (before, now)]
        except InputError:
            # A report that says too little, or a workload that today's rules refuse.
            self._sides = []

    def causes(self, name: str, figure: str, old: int, new: int) -> tuple[Cause, ...]:
        """Return what moved a count of a class."""
        if not self._sides:
            return ("input", "formula")
        expected = [side.get(name, {}).get(figure, 0) for side in self._sides]
        if expected[1] - expected[0] == new - old:
            return ("input",)
        return ("formula",) if expected[0] == expected[1] else ("input", "formula")


def _counts(config: ModelConfig, profile: OCRWorkloadProfile) -> dict[str, dict[str, int]]:
    """Return the counts of each class for the workload of a report."""
    found: dict[str, list[Node]] = {}
    for node in workload_cost(config, as_workload(profile), "baseline").nodes.values():
        if node.class_name != "Group":
            found.setdefault(node.class_name, []).append(node)
    return {
        name: merged(n.own for n in nodes).figures()
        | {"activation_bytes": max(n.total.activation_bytes for n in nodes)}
        for name, nodes in found.items()
    }
