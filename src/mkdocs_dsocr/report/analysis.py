"""An analysis and its report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from mkdocs_dsocr.report import schema
from mkdocs_dsocr.report.analysed import Analysed
from mkdocs_dsocr.report.build import build_report
from mkdocs_dsocr.report.summary import build_summary


@dataclass(frozen=True)
class Analysis(Analysed):
    """A model, a workload and a GPU, analysed, with its report; see :class:`Analysed`."""

    @cached_property
    def predicted(self) -> Analysis:
        """The same without what a trace or a measurement adds, which can be a key of a cache."""
        return replace(self, traced=None, measurement=None)

    @cached_property
    def report(self) -> schema.AnalyticModelReport:
        """The whole report."""
        return build_report(self)

    @cached_property
    def summary(self) -> schema.DeepSeekOCRAnalyticReportSummary:
        """The report in short."""
        return build_summary(self)
