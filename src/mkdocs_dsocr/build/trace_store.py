"""The static analysis: from the cache, or traced by PyTorch.

torch is imported inside :func:`trace_model` and :func:`trace_vendor` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator

from mkdocs_dsocr.build.progress import Log, log_time
from mkdocs_dsocr.build.static import (
    TORCHINFO,
    TRACE,
    VENDOR,
    Analyses,
    StaticAnalysis,
    classes_of,
    distinct_shapes,
    from_artifacts,
)
from mkdocs_dsocr.build.trace_keys import cache_key
from mkdocs_dsocr.inputs.checkpoint import remote_code
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.io import Cache
from mkdocs_dsocr.report.build import class_families
from mkdocs_dsocr.trace import Trace
from mkdocs_dsocr.verify.vendor import as_vendor_runs


def _all_files(files: dict[str, str]) -> dict[str, str]:
    if files.keys() - {VENDOR} != {TRACE, *TORCHINFO}:
        raise ValueError("other files than a static analysis makes")
    return files


class Entry(Strict):
    """An entry of the cache: a static analysis with all of its files and no others."""

    artifacts: Annotated[dict[str, str], AfterValidator(_all_files)]
    reason: str


def static_analysis(
    analyses: Analyses,
    device: str,
    log: Log,
    cache: Cache | None,
    *,
    trust: bool = False,
    built: Callable[[frozenset[str]], None] = lambda _: None,
    early: Callable[[StaticAnalysis], None] = lambda _: None,
) -> StaticAnalysis:
    """Return the static analysis, from the cache where that has it: then torch is not imported.

    Parameters
    ----------
    analyses, device
        What is traced, and where.
    log
        Told what is done.
    cache
        Where results are kept; None does without.
    trust
        Whether the checkpoint's own code is run too.
    built
        Given the module classes as soon as the model is built.
    early
        Given the traces as soon as they are there, before torchinfo has run.

    Raises
    ------
    InputError
        If the device is unknown or not there, or the checkpoint's code does not run.
    """
    key = cache_key(analyses, device, trust=trust)
    static = cached(key, cache, analyses)
    if static is not None:
        log("static analysis from the cache")
        built(static.classes)
        early(static)
        return static
    static = trace_model(analyses, device, log, trust=trust, built=built, early=early)
    if cache is not None:
        cache.save(key, {"artifacts": static.artifacts, "reason": static.device_reason})
    return static


def cached(key: str, cache: Cache | None, analyses: Analyses) -> StaticAnalysis | None:
    """Return what the cache has under `key`, if it is a trace of these workloads."""

    def checked(content: Any) -> StaticAnalysis:
        entry = Entry.model_validate(content)
        static = from_artifacts(entry.artifacts, entry.reason)
        if not static.trace.has(distinct_shapes(analyses)):
            raise ValueError("a trace of other workloads")
        return static

    return cache.load(key, checked) if cache is not None else None


def trace_model(
    analyses: Analyses,
    device: str,
    log: Log,
    *,
    trust: bool = False,
    built: Callable[[frozenset[str]], None] = lambda _: None,
    early: Callable[[StaticAnalysis], None] = lambda _: None,
) -> StaticAnalysis:
    """Build the model and count every pass of every workload.

    Parameters are those of :func:`static_analysis`.

    Raises
    ------
    InputError
        If the device is unknown or not there, or the checkpoint's code does not run.
    """
    with log_time(log, "importing torch"):
        from mkdocs_dsocr import tracing

    main = analyses[0][0]
    where = tracing.resolve_device(device, main.root.total.weight_bytes)
    vendor = trace_vendor(analyses, log) if trust else None
    log(f"static analysis on {where.reason}")
    with log_time(log, "building the model"):
        analyzer = tracing.StaticAnalyzer(main.config, where.name, detailed=trust)
    built(classes_of(analyzer.modules()))
    with log_time(log, "counting every pass"):
        shapes = distinct_shapes(analyses)
        if trust:
            # Operators are compared on what the checkpoint's code is run on.
            shapes = tuple(dict.fromkeys((*shapes, *distinct_shapes(vendor_runs(analyses)))))
        trace = analyzer.trace(shapes)
    traces = {TRACE: trace.to_json()}
    if vendor is not None:
        traces[VENDOR] = vendor.to_json()
    early(StaticAnalysis(trace, traces, where.reason, vendor))
    with log_time(log, "running torchinfo"):
        artifacts = tracing.torchinfo_artifacts(analyzer.session, main.plan, class_families(main))
    return StaticAnalysis(trace, artifacts | traces, where.reason, vendor)


def trace_vendor(analyses: Analyses, log: Log) -> Trace:
    """Build the checkpoint's own modules on ``meta`` and count every pass of every workload.

    Raises
    ------
    InputError
        If the checkpoint has no code, or that does not build and run.
    """
    from mkdocs_dsocr.tracing.vendor import VendorSession, Views

    config = analyses[0][0].config
    remote_code(config.path)
    runs = vendor_runs(analyses)
    views = {}
    for (analysis,) in runs:
        shapes = {s.pass_id: s for s in analysis.plan.shapes}
        if not analysis.workload.text_only:  # its prefill has blank pixels
            views[shapes["prefill"]] = Views(shapes["vision.global"], shapes.get("vision.local"))
    from mkdocs_dsocr.tracing import StaticAnalyzer

    with log_time(log, "building the checkpoint's own modules"):
        session = VendorSession(config, views)
    analyzer = StaticAnalyzer(config, replays=False, detailed=True, session=session)
    with log_time(log, "counting every pass of the checkpoint's own modules"):
        return analyzer.trace(distinct_shapes(runs))


def vendor_runs(analyses: Analyses) -> Analyses:
    """Return an analysis of each workload as the checkpoint's code runs it."""
    return tuple((as_vendor_runs(row[0]),) for row in analyses)
