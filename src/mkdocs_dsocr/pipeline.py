"""Settings → analyses, trace, verification, pages: the steps behind plugin and CLI.

torch is imported inside :func:`trace_model` alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs_dsocr import __version__
from mkdocs_dsocr.cache import Cache, source_digest
from mkdocs_dsocr.checkpoint import CheckpointVerdict, compare
from mkdocs_dsocr.inputs import (
    InputError,
    load_hardware,
    load_model_config,
    load_workload,
)
from mkdocs_dsocr.inputs.checkpoint import INDEX, read_checkpoint
from mkdocs_dsocr.inputs.measurement import Measurement, check_belongs, load_measurements
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import rates
from mkdocs_dsocr.report import Analysis, TargetOperatorList, report_files
from mkdocs_dsocr.report.build import generated_at
from mkdocs_dsocr.report.measured import check_covers, tasks
from mkdocs_dsocr.trace import PassShape, Trace
from mkdocs_dsocr.verification import Verification, verify

if TYPE_CHECKING:
    from mkdocs_dsocr.site.links import LinkStyle
    from mkdocs_dsocr.site.pages import Site

Log = Callable[[str], None]
CODE: Final = ("reference", "tracing", "trace.py", "layers/costs.py", "inputs/constants.py")
"""What a trace is made by."""


@dataclass(frozen=True)
class Settings:
    """What is analysed. Lists: the first is the main one.

    Parameters
    ----------
    model, workloads, hardware
        Ids of what is shipped, or paths.
    device
        ``auto``, ``cuda`` or ``meta``.
    measurements
        Files that ``dsocr measure`` wrote, or folders of them.
    base
        Folder that paths are relative to.
    """

    model: str = "deepseek-ocr-v1-base"
    workloads: tuple[str, ...] = ("dsocr-standard-v1",)
    hardware: tuple[str, ...] = ("rtx-5090",)
    device: str = "auto"
    measurements: tuple[str, ...] = ()
    base: Path = Path()

    def files(self) -> list[Path]:
        """Return the input files, for a server that watches them."""
        model = resolve("models", self.model, self.base)
        return [
            model if model.suffix == ".json" else model / "config.json",
            *(p for p in (model / INDEX, *model.glob("*.safetensors")) if p.is_file()),
            *(resolve("workloads", w, self.base) for w in self.workloads),
            *(resolve("hardware", h, self.base) for h in self.hardware),
            *(self.base / m for m in self.measurements),
        ]


@dataclass(frozen=True)
class Static:
    """What the static analysis found: the trace, and its artifacts by file name."""

    trace: Trace
    artifacts: dict[str, str]
    device_reason: str

    @property
    def operators(self) -> TargetOperatorList:
        return TargetOperatorList.model_validate_json(self.artifacts["target-operators.json"])


@dataclass(frozen=True)
class Result:
    """Everything a site shows: an analysis for each workload and GPU, the main one first."""

    analyses: tuple[tuple[Analysis, ...], ...]
    static: Static
    verification: Verification
    checkpoint: CheckpointVerdict | None = None

    @property
    def failures(self) -> list[str]:
        """A sentence for each disagreement with the trace or the checkpoint."""
        others = self.checkpoint.failures if self.checkpoint else []
        return [*self.verification.failures, *others]

    @property
    def main(self) -> Analysis:
        return self.analyses[0][0]


@contextmanager
def timed(log: Log, what: str) -> Iterator[None]:
    """Say what is done and how long it took."""
    start = time.perf_counter()
    yield
    log(f"{what}: {time.perf_counter() - start:.1f} s")


def analyse(settings: Settings) -> tuple[tuple[Analysis, ...], ...]:
    """Return an analysis for each workload (outer) and each GPU (inner).

    Raises
    ------
    InputError
        If any input is bad, or two workloads or GPUs share an id.
    """
    config = load_model_config(settings.model, settings.base)
    read_checkpoint(config.path)  # what is damaged surfaces before anything long starts
    gpus = [load_hardware(value, settings.base) for value in settings.hardware]
    workloads = [(load_workload(value, settings.base), value) for value in settings.workloads]
    for key, ids in (
        ("workloads", [w.profile_id for w, _ in workloads]),
        ("hardware", [g.hardware_id for g in gpus]),
    ):
        if not ids:
            raise InputError("option", key, "an empty list", "at least one")
        if len(set(ids)) < len(ids):
            raise InputError("option", key, ", ".join(ids), "each id once")
    analyses = tuple(
        tuple(Analysis(config, workload, gpu, source) for gpu in gpus)
        for workload, source in workloads
    )
    for row in analyses:
        row[0].plan  # noqa: B018 - contradictions surface before anything long starts
        for analysis in row:
            _check_formats(analysis)
    return _measured(analyses, load_measurements(settings.measurements, settings.base))


def _check_formats(analysis: Analysis) -> None:
    """Refuse a format for which the GPU has no tensor cores."""
    workload, gpu = analysis.workload, analysis.hardware
    for dtype in sorted(rates(workload)):
        if gpu.peak(dtype) is None:
            known = ", ".join(d for d in FORMATS if gpu.peak(d) is not None)
            raise InputError(
                analysis.source,
                "activation_dtype",
                f"{workload.activation_dtype}: products in {dtype}",
                f"what the tensor cores of {gpu.hardware_id} know: {known}",
            )


def _measured(
    analyses: tuple[tuple[Analysis, ...], ...], measurements: dict[Path, Measurement]
) -> tuple[tuple[Analysis, ...], ...]:
    """Give each measurement to the analysis that it belongs to."""
    every = [a for row in analyses for a in row]
    pairs = [(a.workload, a.hardware) for a in every]
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


def measure(analysis: Analysis, device: str, cuda_graph: bool, repeats: int, log: Log) -> str:
    """Run a workload on a real device and return the measurement file's text.

    Raises
    ------
    InputError
        If the device is not there or cannot do what is asked.
    """
    with timed(log, "importing torch"):
        from mkdocs_dsocr import tracing

    if device == "cuda":
        tracing.resolve_device("cuda", 0)
    elif cuda_graph:
        raise InputError("option", "--cuda-graph", "the device cpu", "--device cuda")
    measurement = tracing.measure(
        analysis.config,
        analysis.workload.profile_id,
        tasks(analysis.plan, analysis.nodes),
        device=device,
        cuda_graph=cuda_graph,
        repeats=repeats,
        progress=log,
    )
    return measurement.model_dump_json(indent=1) + "\n"


def static_analysis(
    analyses: tuple[tuple[Analysis, ...], ...], device: str, log: Log, cache: Cache | None
) -> Static:
    """Return the static analysis, from the cache where that has it: then torch is not imported.

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    if cache is None:
        return trace_model(analyses, device, log)
    key = _cache_key(analyses, device)
    content = cache.load(key)
    if content is not None:
        log("static analysis from the cache")
        return Static(Trace.from_json(content["trace"]), content["artifacts"], content["reason"])
    static = trace_model(analyses, device, log)
    cache.save(
        key,
        {
            "trace": static.trace.to_json(),
            "artifacts": static.artifacts,
            "reason": static.device_reason,
        },
    )
    return static


def _cache_key(analyses: tuple[tuple[Analysis, ...], ...], device: str) -> str:
    """Return everything that a static analysis depends on, without importing torch."""
    package = Path(__file__).parent
    versions = [metadata.version(name) for name in ("torch", "torchinfo")]
    # ``auto`` is what it was as long as there is a driver, or none.
    driver = [Path("/proc/driver/nvidia").exists(), os.environ.get("CUDA_VISIBLE_DEVICES")]
    code = source_digest(package / part for part in CODE)
    rest = [__version__, code, versions, driver, generated_at()]
    return json.dumps([trace_key(analyses, device), *rest])


def trace_model(analyses: tuple[tuple[Analysis, ...], ...], device: str, log: Log) -> Static:
    """Build the reference model and count every pass of every workload.

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    with timed(log, "importing torch"):
        from mkdocs_dsocr import tracing

    main = analyses[0][0]
    where = tracing.resolve_device(device, sum(main.root.total.weights.values()))
    log(f"static analysis on {where.reason}")
    with timed(log, "building the reference model"):
        analyzer = tracing.DeepseekOCRStaticAnalyzer(main.config, where.name)
    with timed(log, "counting every pass"):
        trace = analyzer.trace(distinct_shapes(analyses))
    with timed(log, "running torchinfo"):
        artifacts = tracing.torchinfo_artifacts(analyzer.session, main.plan)
    return Static(trace, {**artifacts, "trace.json": trace.to_json()}, where.reason)


def distinct_shapes(analyses: tuple[tuple[Analysis, ...], ...]) -> tuple[PassShape, ...]:
    """Return every shape that the workloads run, once."""
    return tuple(dict.fromkeys(shape for row in analyses for shape in row[0].plan.shapes))


def load_static(folder: Path) -> Static:
    """Read what ``dsocr static`` wrote.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    artifacts = {}
    for name in ("target-operators.json", "trace.json"):
        path = folder / name
        try:
            artifacts[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, "", str(error), "a file that dsocr static wrote") from error
    try:
        static = Static(Trace.from_json(artifacts["trace.json"]), artifacts, "read from a file")
        static.operators  # noqa: B018 - validates
    except ValueError as error:
        raise InputError(folder, "", str(error).splitlines()[0], "dsocr static's files") from error
    return static


def complete(analyses: tuple[tuple[Analysis, ...], ...], static: Static) -> Result:
    """Join analyses with a trace: operator coverage and verification.

    Raises
    ------
    InputError
        If the trace is of another workload.
    """
    operators = static.operators
    covered = tuple(
        tuple(dataclasses.replace(a, operators=operators) for a in row) for row in analyses
    )
    try:
        verification = verify([row[0] for row in covered], static.trace)
    except LookupError as error:
        raise InputError("trace.json", "passes", str(error), "a trace of this workload") from error
    found = read_checkpoint(covered[0][0].config.path)
    verdict = compare(found, static.trace.modules) if found else None
    return Result(covered, static, verification, verdict)


def verdicts(result: Result) -> dict[str, str]:
    """Return the files that say whether trace and checkpoint agree, by name."""
    files = {"verification.json": result.verification.to_json()}
    if result.checkpoint is not None:
        files["checkpoint.json"] = result.checkpoint.to_json()
    return files


def artifacts(result: Result) -> dict[str, str]:
    """Return every file for machines by its path under ``artifacts/``."""
    static = result.static.artifacts | verdicts(result)
    files = {f"static/{name}": text for name, text in static.items()}
    for row in result.analyses:
        for index, analysis in enumerate(row):
            folder = analysis.workload.profile_id
            if index:
                folder += f"/{analysis.hardware.hardware_id}"
            files |= {f"{folder}/{n}": text for n, text in report_files(analysis).items()}
            if analysis.measurement is not None:
                files[f"{folder}/measurement.json"] = analysis.measurement.model_dump_json(indent=1)
    return files


def trace_key(analyses: tuple[tuple[Analysis, ...], ...], device: str) -> str:
    """Return what a trace depends on, as one string: the key of a cached trace."""
    main = analyses[0][0]
    shapes = [dataclasses.astuple(shape) for shape in distinct_shapes(analyses)]
    fields = {"profile_id", "base_size", "image_size", "crop_mode", "max_new_tokens"}
    workload = main.workload.model_dump(mode="json", include=fields)
    return json.dumps([main.config.model_dump(mode="json"), workload, shapes, device])


def site_files(result: Result, style: LinkStyle) -> tuple[Site, dict[str, str], dict[str, bytes]]:
    """Return the site, its pages and its other files, by path within the plugin's folder."""
    from mkdocs_dsocr.site.pages import Site, assets, build_pages

    others = {f"artifacts/{p}": text.encode() for p, text in artifacts(result).items()}
    sizes = {p.removeprefix("artifacts/"): len(data) for p, data in others.items()}
    site = Site(
        result.analyses, result.verification, result.static.device_reason, sizes, result.checkpoint
    )
    others |= {f"assets/{name}": data for name, data in assets().items()}
    return site, build_pages(site, style), others


def auto_device(settings: Settings) -> str:
    """Return in words which device ``auto`` takes here."""
    from mkdocs_dsocr.tracing import resolve_device

    weights = analyse(settings)[0][0].root.total.weights
    return resolve_device("auto", sum(weights.values())).reason
