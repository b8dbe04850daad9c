"""What a site shows, kept over the rebuilds of a server; traces and reports are made beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from mkdocs_dsocr.build import artifacts, pipeline, prepared
from mkdocs_dsocr.build.progress import Log, log_time
from mkdocs_dsocr.build.shipped import shipped
from mkdocs_dsocr.build.static import TORCHINFO, Analyses, StaticAnalysis, distinct_shapes
from mkdocs_dsocr.build.switching import Begin, Switch
from mkdocs_dsocr.build.trace_keys import cache_key
from mkdocs_dsocr.build.trace_store import cached
from mkdocs_dsocr.build.workers import ReportWorker, TraceWorker, with_torchinfo
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.site.links import LinkStyle
from mkdocs_dsocr.site.pages import prepare

EDITED: Final = (
    "inputs",
    "",
    "a file that was edited during this build",
    "files that stay as they are: build again",
)
"""The error of a build that may have seen an input as it was and as it is now."""


class BuildSession:
    """Makes results, and keeps the last one and its trace.

    Parameters
    ----------
    log
        Told what is done.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._analyses: Analyses = ()
        self._last: pipeline.Result | None = None
        self._static: tuple[str, StaticAnalysis] | None = None
        self._reporter: ReportWorker | None = None
        self._tracer: TraceWorker | None = None
        self._tracing: tuple[str, TraceWorker] | None = None

    def result(
        self, settings: pipeline.Settings, *, may_be_stale: bool
    ) -> tuple[pipeline.Result, list[str]]:
        """Return the result, and the paths of artifacts that :meth:`taken` gives later.

        Parameters
        ----------
        settings
            What is analysed.
        may_be_stale
            Whether a trace of the same model may be shown while another is made.

        Raises
        ------
        InputError
            If any input is bad.
        """
        analyses, key, static = self._analysed(settings)
        others = artifacts.other_names(analyses)
        stale = self._stale(analyses) if static is None and may_be_stale else None
        self.let_go()
        if stale is not None:
            self._trace(key, settings)
            self._report(analyses, settings, stale.static.classes)
            return pipeline.attach_comparisons(stale, settings), others
        later = others
        if static is not None:
            # A server that has made its pages once makes tables faster than it starts a process.
            prepares = self._last is None and not prepared.are_kept(analyses, settings.store)
            self._report(analyses, settings, static.classes, prepares)
            if prepares:
                prepare(analyses[0][0])
        else:
            later = [*others, *(f"static/{name}" for name in TORCHINFO)]
            static = self._traced(analyses, settings)
        self._static = (key, static)
        self._last = pipeline.attach_comparisons(pipeline.complete(analyses, static), settings)
        return self._last, later

    def _traced(self, analyses: Analyses, settings: pipeline.Settings) -> StaticAnalysis:
        """Wait for the trace, and do meanwhile what does not need it."""
        self._tracer = tracer = TraceWorker(settings, self._log)
        try:
            prepare(analyses[0][0])
            prepared.formulas(analyses, settings.store)
            prepared.studies(analyses, settings.store)
            self._report(analyses, settings, tracer.classes())
            artifacts.prepare_others(analyses)
            static = tracer.static()
            if not static.trace.has(distinct_shapes(analyses)):
                raise InputError(*EDITED)
            return static
        except InputError:
            self.let_go()  # it has ended, and there is nothing to wait for
            raise

    def _report(
        self,
        analyses: Analyses,
        settings: pipeline.Settings,
        classes: frozenset[str],
        prepares: bool = False,
    ) -> None:
        """Have tables, formulas and the reports of other workloads and GPUs made, if needed."""
        if prepares or artifacts.other_names(analyses):
            self._reporter = ReportWorker(settings, classes, prepares=prepares, log=self._log)

    @property
    def ahead(self) -> ReportWorker | None:
        """What makes tables and formulas of the last result, if another process does."""
        return self._reporter

    def switch(
        self,
        settings: pipeline.Settings,
        style: LinkStyle,
        convert: Callable[[str], str],
    ) -> Begin:
        """Return what begins with the pages of other workloads and GPUs, as :class:`Switch`."""
        return partial(
            Switch,
            settings=settings,
            style=style,
            convert=convert,
            log=self._log,
        )

    def result_now(self, settings: pipeline.Settings) -> pipeline.Result | None:
        """Return what :meth:`result` returns, or None if that waits for a trace.

        Raises
        ------
        InputError
            If any input is bad.
        """
        analyses, key, static = self._analysed(settings)
        if static is not None:
            self._static = (key, static)
            return pipeline.attach_comparisons(pipeline.complete(analyses, static), settings)
        if (stale := self._stale(analyses)) is None:
            return None
        self._trace(key, settings)
        return pipeline.attach_comparisons(stale, settings)

    @contextmanager
    def taken(self) -> Iterator[dict[str, Path]]:
        """Wait for the artifacts that were promised and yield them by path; they go at the end.

        Raises
        ------
        InputError
            If they could not be made.
        """
        files: dict[str, Path] = {}
        try:
            for worker in (self._reporter, self._tracer):
                files |= worker.files() if worker is not None else {}
            if self._tracer is not None and self._static is not None:
                key, static = self._static
                self._static = key, with_torchinfo(static, files)
            yield files
        finally:
            self.let_go()

    @property
    def new_trace(self) -> str | None:
        """The key of a finished background trace that no result uses yet, or None."""
        tracing = self._tracing
        return tracing[0] if tracing is not None and not tracing[1].is_running else None

    def stop(self) -> None:
        """End what still runs and remove its files."""
        self.let_go()
        if self._tracing is not None:
            self._tracing[1].stop()
            self._tracing = None

    def let_go(self) -> None:
        """End what makes artifacts, and remove those that nobody took."""
        workers = self._reporter, self._tracer
        self._reporter = self._tracer = None
        for worker in workers:
            if worker is not None:
                worker.stop()

    def _analysed(self, settings: pipeline.Settings) -> tuple[Analyses, str, StaticAnalysis | None]:
        """Return the analyses, the key of their trace, and the trace where there is one."""
        with log_time(self._log, "analysing"):
            # The last ones stay until here: what is as it was is not counted again.
            self._analyses = analyses = pipeline.analyse(settings)
        key = cache_key(analyses, settings.device, trust=settings.trust_remote_code)
        return analyses, key, self._known(key, settings, analyses)

    def _known(
        self, key: str, settings: pipeline.Settings, analyses: Analyses
    ) -> StaticAnalysis | None:
        """Return the trace under `key`: made beside, kept here, shipped or cached; None if none."""
        if self._tracing is not None and not self._tracing[1].is_running:
            (made, process), self._tracing = self._tracing, None
            # A trace of other inputs is in the cache, and what was wrong with them is past.
            try:
                if made == key:
                    static = process.static()
                    self._static = (made, with_torchinfo(static, process.files()))
            finally:
                process.stop()
        if self._static is not None and self._static[0] == key:
            return self._static[1]
        if (found := shipped(analyses, settings)) is not None:
            self._log(found.device_reason)
            return found
        static_or_none = cached(key, settings.traces, analyses)
        if static_or_none is not None:
            self._log("static analysis from the cache")
        return static_or_none

    def _stale(self, analyses: Analyses) -> pipeline.Result | None:
        """Return the analyses with the last verification, where it has their model and classes."""
        last, main = self._last, analyses[0][0]
        if last is None or last.main.config != main.config or last.vendor is not None:
            return None
        if not main.classes.keys() <= last.verification.by_class.keys():
            return None
        covered = pipeline.with_classes(analyses, last.static.classes)
        return dataclasses.replace(last, analyses=covered, is_stale=True)

    def _trace(self, key: str, settings: pipeline.Settings) -> None:
        """Make a trace in the background for a later result."""
        if self._tracing is not None:
            if self._tracing[0] == key:
                return
            self._tracing[1].stop()
        self._tracing = (key, TraceWorker(settings, self._log))
