"""Settings → analyses, trace, verification, pages: the steps behind plugin and CLI.

torch is imported by :mod:`mkdocs_dsocr.build.trace_store` and :func:`measure` alone, when they run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs_dsocr.build import settings as options
from mkdocs_dsocr.build.progress import Log, log_time
from mkdocs_dsocr.build.static import Analyses, StaticAnalysis
from mkdocs_dsocr.inputs import (
    InputError,
    Workload,
    load_hardware,
    load_workload,
)
from mkdocs_dsocr.inputs.checkpoint import read_checkpoint, remote_code
from mkdocs_dsocr.inputs.measurement import (
    Measurement,
    check_belongs,
    check_measurable,
    load_measurements,
)
from mkdocs_dsocr.inputs.references import check_unique
from mkdocs_dsocr.models import load_model_config, model_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import Changes, load_report
from mkdocs_dsocr.report.changes import compare as compare_reports
from mkdocs_dsocr.report.measurement_plan import check_covers, tasks
from mkdocs_dsocr.report.models import ModelsCompared, compare_models
from mkdocs_dsocr.text import printable
from mkdocs_dsocr.verify.checkpoint import CheckpointVerdict, compare
from mkdocs_dsocr.verify.vendor import VendorVerdict, compare_vendor
from mkdocs_dsocr.verify.verdict import Verification

if TYPE_CHECKING:
    from mkdocs_dsocr.site.review import Reviewed

Settings = options.Settings
MeasureOptions = options.MeasureOptions


@dataclass(frozen=True)
class Result:
    """Everything a site shows: an analysis for each workload and GPU, the main one first."""

    analyses: Analyses
    static: StaticAnalysis
    verification: Verification
    checkpoint: CheckpointVerdict | None = None
    vendor: VendorVerdict | None = None
    reviews: tuple[Reviewed, ...] = ()
    unsettled: tuple[str, ...] = ()
    """A sentence for each review that is required and missing."""
    changes: Changes | None = None
    """What moved since the baseline."""
    models: ModelsCompared | None = None
    """Other models beside the main one."""
    is_stale: bool = False
    """Whether trace and verification are of the inputs before an edit."""

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement with the trace, the checkpoint, its code or a review."""
        others = [v.failures for v in (self.checkpoint, self.vendor) if v]
        found = [f for failures in others for f in failures]
        every = [*self.verification.failures, *found, *self.unsettled]
        return [printable(sentence) for sentence in every]

    @property
    def main(self) -> Analysis:
        return self.analyses[0][0]


def analyse(settings: Settings, custom: Sequence[Workload] | None = None) -> Analyses:
    """Return an analysis for each workload (outer) and each GPU (inner).

    Parameters
    ----------
    settings
        What is analysed.
    custom
        Workloads that options describe, in place of those of the settings.

    Raises
    ------
    InputError
        If any input is bad, or two workloads or GPUs share an id.
    """
    if settings.require_review and not settings.reviews:
        allowed = "false, or also the option reviews: the file that dsocr review writes"
        raise InputError("option", "require_review", "true without reviews", allowed)
    config = load_model_config(settings.model, settings.base)
    if settings.trust_remote_code:
        if not model_of(config).runs_remote_code:
            allowed = f"false: {model_of(config).title} is traced from an installed package alone"
            raise InputError("option", "trust_remote_code", "true", allowed)
        remote_code(config.path)
    gpus = [load_hardware(value, settings.base) for value in settings.hardware]
    if custom is not None:
        workloads = [(workload, "option") for workload in custom]
    else:
        workloads = [
            (load_workload(value, settings.base, key="workloads"), value)
            for value in settings.workloads
        ]
    for key, ids in (
        ("workloads", [w.profile_id for w, _ in workloads]),
        ("hardware", [g.hardware_id for g in gpus]),
    ):
        if not ids:
            raise InputError("option", key, "an empty list", "at least one")
        check_unique(key, ids)
    analyses = tuple(
        tuple(Analysis(config, workload, gpu, source) for gpu in gpus)
        for workload, source in workloads
    )
    for row in analyses:
        row[0].plan  # noqa: B018 - contradictions surface before anything long starts
        for analysis in row:
            analysis.check_formats()
    return _measured(analyses, load_measurements(settings.measurements, settings.base))


def _measured(analyses: Analyses, measurements: dict[Path, Measurement]) -> Analyses:
    """Give each measurement to the analysis that it belongs to."""
    every = [a for row in analyses for a in row]
    pairs = [(a.plan.workload, a.hardware) for a in every]
    owners: dict[tuple[str, str], Measurement] = {}
    for path, measurement in measurements.items():
        workload, gpu = check_belongs(path, measurement, every[0].config, pairs)
        key = (workload.profile_id, gpu.hardware_id)
        if key in owners:
            raise InputError(path, "profile_id", f"a second one of {' on '.join(key)}", "one")
        owners[key] = measurement
        try:
            check_covers(every[pairs.index((workload, gpu))].plan, measurement)
        except LookupError as error:
            allowed = f"the sizes of {workload.profile_id} as it is now"
            raise InputError(path, "passes", str(error), allowed) from error
    return tuple(
        tuple(
            dataclasses.replace(
                a, measurement=owners.get((a.workload.profile_id, a.hardware.hardware_id))
            )
            for a in row
        )
        for row in analyses
    )


def measure(analyses: Analyses, options: MeasureOptions, log: Log) -> Iterator[tuple[str, str]]:
    """Run workloads on a real device; yield each one's id and measurement file when it is done.

    Raises
    ------
    InputError
        If the device is not there or cannot do what is asked.
    """
    mains = [row[0] for row in analyses]
    for analysis in mains:
        check_measurable(analysis.plan.workload, analysis.source)
    with log_time(log, "importing torch"):
        from mkdocs_dsocr import tracing

    if options.device == "cuda":
        try:
            tracing.resolve_device("cuda", 0)
        except InputError as error:
            allowed = "cpu, or cuda on a machine with a GPU that torch sees"
            raise InputError("option", "device", "cuda, and torch sees none", allowed) from error
    else:
        for flag in ("cuda_graph", "largest_batch"):
            if getattr(options, flag):
                name = f"--{flag.replace('_', '-')}"
                raise InputError("option", name, "the device cpu", "--device cuda")
    measurer = tracing.Measurer(mains[0].config, options.device, log)
    for analysis in mains:
        measurement = measurer.measure(
            analysis.workload.profile_id,
            tasks(analysis.plan, analysis.nodes),
            cuda_graph=options.cuda_graph,
            repeats=options.repeats,
            batches=analysis.batches if options.largest_batch else None,
        )
        yield analysis.workload.profile_id, measurement.model_dump_json(indent=1) + "\n"


def complete(analyses: Analyses, static: StaticAnalysis) -> Result:
    """Join analyses with a trace: operator coverage and verification.

    Raises
    ------
    InputError
        If the trace is of another workload.
    """
    covered = with_classes(analyses, static.classes)
    mains = [row[0] for row in covered]
    try:
        verification = static.verifier.verify(mains)
        traced = static.vendor
        vendor = compare_vendor(mains, static.trace, traced) if traced else None
    except LookupError as error:
        raise InputError("trace.json", "passes", str(error), "a trace of this workload") from error
    config = covered[0][0].config
    found = read_checkpoint(config.path)
    verdict = compare(found, static.trace.modules, config.storage) if found else None
    return Result(covered, static, verification, verdict, vendor)


def attach_comparisons(result: Result, settings: Settings) -> Result:
    """Return a result with its reviews, baseline and other models, where the settings name them.

    Raises
    ------
    InputError
        If a file is not valid.
    """
    if settings.baseline:
        before = load_report(settings.base / settings.baseline)
        found = compare_reports(before, result.main.report, result.main.config)
        result = dataclasses.replace(result, changes=found)
    if settings.compared_models:
        others = [
            load_model_config(value, settings.base, key="compared_models")
            for value in settings.compared_models
        ]
        result = dataclasses.replace(result, models=compare_models(result.main, others))
    return _with_reviews(result, settings) if settings.reviews else result


def _with_reviews(result: Result, settings: Settings) -> Result:
    from mkdocs_dsocr.site.review import reviewed

    found = reviewed(result.main, settings.base / settings.reviews)
    missing = [r for r in found if not r.is_settled] if settings.require_review else []
    sentences = [f"review: {r.name} is {r.state}" for r in missing]
    return dataclasses.replace(result, reviews=tuple(found), unsettled=tuple(sentences))


def with_classes(analyses: Analyses, classes: frozenset[str]) -> Analyses:
    """Return analyses that know the traced classes."""
    return tuple(tuple(dataclasses.replace(a, traced=classes) for a in row) for row in analyses)


def auto_device(settings: Settings) -> str:
    """Return in words which device ``auto`` takes here."""
    from mkdocs_dsocr.tracing import resolve_device

    weight_bytes = analyse(settings)[0][0].root.total.weight_bytes
    return resolve_device("auto", weight_bytes).reason
