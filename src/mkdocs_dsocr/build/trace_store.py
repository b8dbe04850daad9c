"""The static analysis: from the cache, from a file, or traced by PyTorch.

torch is imported inside :func:`trace_model` and :func:`trace_vendor` alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from mkdocs_dsocr import __version__
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.checkpoint import remote_code
from mkdocs_dsocr.inputs.fields import Strict
from mkdocs_dsocr.inputs.files import read_text
from mkdocs_dsocr.io import Cache, source_digest
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.build import class_families, generated_at
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.trace import ModuleRecord, PassShape, Trace
from mkdocs_dsocr.verify.formulas import Verifier
from mkdocs_dsocr.verify.vendor import as_vendor_runs

Log = Callable[[str], None]
NOTICE: Final = 2.0
"""Seconds after which a step that still runs is announced."""
Analyses = tuple[tuple[Analysis, ...], ...]
Shown = tuple[int, int]
"""Which analysis is shown: the places of its workload and of its GPU."""
CODE: Final = (
    "tracing",
    "trace.py",
    "layers/costs.py",
    "inputs/constants.py",
    "models/tokens.py",
)
"""Code that a trace depends on."""
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


def _all_files(files: dict[str, str]) -> dict[str, str]:
    if files.keys() - {VENDOR} != {TRACE, *TORCHINFO}:
        raise ValueError("other files than a static analysis makes")
    return files


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


class Entry(Strict):
    """An entry of the cache: a static analysis with all of its files and no others."""

    artifacts: Annotated[dict[str, str], AfterValidator(_all_files)]
    reason: str


@contextmanager
def log_time(log: Log, what: str) -> Iterator[None]:
    """Say what is done and how long it took; a long step is announced before it is done."""
    start = time.perf_counter()
    notice = threading.Timer(NOTICE, log, (f"{what} …",))
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()
    log(f"{what}: {time.perf_counter() - start:.1f} s")


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


def cache_key(analyses: Analyses, device: str, *, trust: bool = False) -> str:
    """Return everything that a static analysis depends on, without importing torch."""
    packages = packages_of(analyses, *(["transformers"] if trust else []))
    versions = [release(name) for name in packages]
    # ``auto`` is what it was as long as there is a driver, or none.
    driver = [Path("/proc/driver/nvidia").exists(), os.environ.get("CUDA_VISIBLE_DEVICES")]
    code = code_digest()
    vendor = source_digest(remote_code(analyses[0][0].config.path)) if trust else None
    rest = [__version__, code, vendor, versions, driver, generated_at()]
    return json.dumps([trace_key(analyses, device, trust=trust), *rest])


def code_digest() -> str:
    """Return a digest of the code that a trace depends on."""
    return source_digest(PACKAGE / part for part in CODE)


def packages_of(analyses: Analyses, *further: str) -> list[str]:
    """Return the packages that a trace runs with."""
    own = model_of(analyses[0][0].config).packages
    return list(dict.fromkeys(("torch", "torchinfo", *own, *further)))


def release(distribution: str) -> str:
    """Return the version of an installed package.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        place = f"what a trace runs with: pip install {distribution}"
        raise InputError("environment", distribution, "nothing of this name", place) from error


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


def distinct_shapes(analyses: Analyses) -> tuple[PassShape, ...]:
    """Return every shape that the workloads run, once."""
    return tuple(dict.fromkeys(shape for row in analyses for shape in row[0].plan.shapes))


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


def trace_key(analyses: Analyses, device: str, *, trust: bool = False) -> str:
    """Return what a trace depends on, as one string: neither names nor GPUs."""
    main = analyses[0][0]
    shapes = [dataclasses.astuple(shape) for shape in distinct_shapes(analyses)]
    fields = {"base_size", "image_size", "crop_mode", "max_new_tokens"}
    workload = main.workload.model_dump(mode="json", include=fields)
    config = main.config.model_dump(mode="json", exclude={"path"})  # wherever it is installed
    return json.dumps([config, workload, shapes, device, trust])
