"""Looks up the counts of a trace by pass and pattern of module paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from mkdocs_dsocr.models import Run
from mkdocs_dsocr.patterns import expand
from mkdocs_dsocr.quantities import arithmetic_series
from mkdocs_dsocr.trace import PassRecord, PassShape, Trace, TracedPeak

T = TypeVar("T")


class Counts:
    """The counts of a trace; a module that was not called has those of its children."""

    def __init__(self, trace: Trace) -> None:
        self.device = trace.device
        self._records = {record.shape: record for record in trace.passes}
        self._sums: dict[tuple[PassShape, str, str], int] = {}
        self._children: dict[str, list[str]] = {}
        for module in trace.modules:
            if module.path:
                self._children.setdefault(module.path.rpartition(".")[0], []).append(module.path)

    def record(self, shape: PassShape) -> PassRecord:
        record = self._records.get(shape)
        if record is None:
            raise LookupError(f"no pass {shape}")
        return record

    def run(self, run: Run, pattern: str, metric: str) -> int:
        """Return what was counted for `pattern` over all calls and steps of a run."""
        first, last = (self._sum(shape, pattern, metric) for shape in (run.first, run.last))
        if run.steps == 1:
            return run.calls * first
        if run.steps * (first + last) % 2:
            raise LookupError(f"{metric} of {pattern} over {run.steps} steps is no integer")
        steps: int = arithmetic_series(first, last, run.steps)
        return run.calls * steps

    def _sum(self, shape: PassShape, pattern: str, metric: str) -> int:
        key = (shape, pattern, metric)
        if key not in self._sums:
            counts: dict[str, int] = getattr(self.record(shape), metric)
            self._sums[key] = sum(
                count for path in expand(pattern) for count in self._called(counts, path)
            )
        return self._sums[key]

    def peak(self, runs: Iterable[Run], pattern: str) -> TracedPeak:
        """Return the largest peak of any call of `pattern` in several runs."""
        paths = expand(pattern)
        found = [
            peak
            for peaks in (self.record(run.last).peaks for run in runs)
            for path in paths
            for peak in self._called(peaks, path)
        ]
        return max(found, key=lambda p: p.bytes, default=TracedPeak(0, "", 0))

    def _called(self, found: Mapping[str, T], path: str) -> Iterator[T]:
        """Yield what was found for a module, or for its children where it was not called."""
        if path in found:
            yield found[path]
            return
        for child in self._children.get(path, ()):
            yield from self._called(found, child)
