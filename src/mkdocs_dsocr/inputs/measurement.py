"""Measurement files: what ``dsocr measure`` found on a real device."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, repr_short
from mkdocs_dsocr.inputs.fields import Count, Identifier, Positive, PositiveInt, Strict, Text
from mkdocs_dsocr.inputs.files import read_mapping, validate
from mkdocs_dsocr.inputs.hardware import Hardware
from mkdocs_dsocr.inputs.model_config import ModelConfig, Storage
from mkdocs_dsocr.inputs.workload import HostMode, Workload
from mkdocs_dsocr.trace import PassShape

VERSIONS: Final = ("1.1", "1.2")
"""Versions that are read, the one that is written last.

A version is added here when a key is added to :class:`Measurement`. The key has a default, so that
the files of earlier versions stay valid.
"""
SCHEMA_VERSION: Final = VERSIONS[-1]


def _known_version(value: str) -> str:
    if value not in VERSIONS:
        allowed = (
            f"{', '.join(VERSIONS)}; measure again, or install the release that wrote the file"
        )
        raise ContradictionError("", repr_short(value), allowed)
    return value


class Timing(Strict):
    """Times of repeated calls, in ms: the median, and the range of 80 % of them."""

    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    repeats: Annotated[int, Field(ge=1, le=10**6)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.p10_ms <= self.median_ms <= self.p90_ms:
            raise ContradictionError(
                "median_ms",
                f"{self.p10_ms:g}, {self.median_ms:g}, {self.p90_ms:g}",
                "p10_ms ≤ median_ms ≤ p90_ms",
            )
        return self


class MeasuredModule(Strict):
    """A module, or several equal ones, within one run of a pass.

    `timing` is per call: the mean over a few equal modules that run one after another, with
    their inputs of the pass.
    """

    module_id: Text
    calls: PositiveInt
    timing: Timing


class DeviceWork(Strict):
    """Kernels of one run, without the gaps in which the device waits for the host."""

    kernels: PositiveInt
    time_ms: Positive = Field(description="sum of the times of the kernels")


class MeasuredPass(Strict):
    """One run of a pass."""

    shape: dict[str, bool | int | str]
    timing: Timing
    dispatches: Count = Field(description="operators dispatched, without views")
    host_syncs: Count = Field(
        validation_alias=AliasChoices("host_syncs", "synchronisations"),  # the name in 1.1
        description="waits of the host for a value of the device",
    )
    peak_memory_bytes: Count | None = Field(description="allocated at most, weights included")
    device_work: DeviceWork | None = Field(description="None where nothing records it")
    modules: tuple[MeasuredModule, ...] = ()

    @model_validator(mode="after")
    def _a_shape(self) -> Self:
        try:
            self.pass_shape  # noqa: B018 - validates
        except TypeError as error:
            raise ContradictionError("shape", str(error), "the fields of a pass") from error
        return self

    @property
    def pass_shape(self) -> PassShape:
        return PassShape(**self.shape)  # type: ignore[arg-type]


class Achieved(Strict):
    """What the device achieved in the simplest cases."""

    matmul_tflops: Positive = Field(description="large bfloat16 product, 1e12 FLOPs per second")
    copy_gb_s: Positive = Field(description="large copy, read and written, 1e9 byte per second")
    dispatch_us: Positive = Field(description="host time of an operator that does nothing")
    synchronise_us: Positive = Field(description="host time of asking an idle device for a value")


class Capacity(Strict):
    """The largest batch that ran on a device."""

    memory_bytes: Count = Field(description="what an empty process can allocate")
    predicted_batch: Count = Field(description="the largest that fits by the memory model")
    largest_batch: Count = Field(description="the largest that ran; one more did not")


class Measurement(Strict):
    """Everything that one run of ``dsocr measure`` found."""

    schema_version: Annotated[str, AfterValidator(_known_version)]
    run_id: Identifier
    measured_at: Text
    model_variant: Text
    model_fingerprint: Text
    profile_id: Identifier
    device: Text = Field(description="the device in the driver's words")
    versions: dict[str, Text]
    mode: HostMode
    achieved: Achieved
    weight_bytes: Count
    capacity: Capacity | None = Field(description="None where it was not tried")
    passes: Annotated[tuple[MeasuredPass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_shape_once(self) -> Self:
        seen: dict[PassShape, int] = {}
        for index, measured in enumerate(self.passes):
            first = seen.setdefault(measured.pass_shape, index)
            if first != index:
                found = f"the shape of passes.{first} ({measured.pass_shape.pass_id}) again"
                raise ContradictionError(f"passes.{index}.shape", found, "each shape once")
        return self

    def find(self, shape: PassShape) -> MeasuredPass:
        """Return the pass of exactly this shape.

        Raises
        ------
        LookupError
            If it was not measured.
        """
        for measured in self.passes:
            if measured.pass_shape == shape:
                return measured
        raise LookupError(f"{shape.pass_id} was not measured at the workload's sizes")


def fingerprint(config: ModelConfig) -> str:
    """Return a digest of what times depend on: dimensions, and formats that are not the usual."""
    sizes = config.dimensions.model_dump(mode="json") | {"architecture": config.architecture}
    # Towers that a model does not have, so that files of earlier versions are still of this model.
    sizes = {name: size for name, size in sizes.items() if size is not None}
    if config.storage != Storage():
        sizes["storage"] = config.storage.model_dump(mode="json")
    return hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()[:16]


def load_measurements(values: tuple[str, ...], base: Path | None = None) -> dict[Path, Measurement]:
    """Load measurement files; a folder stands for the JSON files in it.

    Raises
    ------
    InputError
        If a file or folder is missing or not valid.
    """
    result: dict[Path, Measurement] = {}
    for value in values:
        path = (base or Path()) / value
        files = sorted(path.glob("*.json")) if os.path.isdir(path) else [path]
        if not files:
            raise InputError(path, "", "a folder without .json files", "measurement files")
        for file in files:
            result[file] = validate(Measurement, read_mapping(file), file)
    return result


def check_measurable(workload: Workload, source: str | Path) -> None:
    """Refuse a workload in other formats than bfloat16: the reference model runs in no other.

    Raises
    ------
    InputError
        If it has others.
    """
    for key in ("weight_dtype", "activation_dtype", "kv_dtype"):
        dtype = getattr(workload, key)
        if dtype != "bf16":
            raise InputError(source, key, dtype, "bf16: the measured model runs in no other format")


def check_belongs(
    path: Path,
    measurement: Measurement,
    config: ModelConfig,
    pairs: list[tuple[Workload, Hardware]],
) -> tuple[Workload, Hardware]:
    """Return the workload and GPU of a measurement, among those that a site shows.

    Raises
    ------
    InputError
        If it is of another model, workload or device.
    """
    expected = fingerprint(config)
    if measurement.model_fingerprint != expected:
        found = f"{measurement.model_variant} with sizes {measurement.model_fingerprint}"
        allowed = f"{config.variant} with sizes {expected}"
        raise InputError(path, "model_fingerprint", found, allowed)
    same = [(w, gpu) for w, gpu in pairs if w.profile_id == measurement.profile_id]
    if not same:
        allowed = ", ".join(dict.fromkeys(w.profile_id for w, _ in pairs))
        raise InputError(path, "profile_id", repr_short(measurement.profile_id), allowed)
    for workload, hardware in same:
        if measurement.mode != workload.host_mode:
            allowed = f"{workload.host_mode}, the host_mode of {workload.profile_id}"
            raise InputError(path, "mode", measurement.mode, allowed)
        check_measurable(workload, f"{path}: {workload.profile_id}")
        if measurement.device in hardware.device_names:
            return workload, hardware
    names = ", ".join(dict.fromkeys(name for _, gpu in pairs for name in gpu.device_names))
    allowed = f"one of the device_names of the hardware: {names or 'no profile lists any'}"
    raise InputError(path, "device", repr_short(measurement.device), allowed)
