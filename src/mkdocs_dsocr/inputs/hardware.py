"""Hardware profiles: peaks that can be derived, each with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, shown
from mkdocs_dsocr.inputs.files import Strict, read_mapping, validate
from mkdocs_dsocr.inputs.references import resolve

TOLERANCE = 0.01
"""How far a stated peak may be from units × clock × FLOPs per clock."""

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Peak(Strict):
    """A dense peak, and the product from which it comes."""

    tflops: Positive = Field(description="dense peak, 1e12 FLOPs a second")
    units: Annotated[int, Field(gt=0, le=1_000_000)] = Field(description="units on the chip")
    clock_ghz: Positive = Field(description="clock at which the peak is stated, 1e9 Hz")
    flops_per_clock: Annotated[int, Field(gt=0, le=10**9)] = Field(
        description="dense FLOPs a clock and unit, a multiply-add counting 2"
    )
    source: Text

    @model_validator(mode="after")
    def _derivable(self) -> Self:
        derived = self.units * self.clock_ghz * self.flops_per_clock / 1000
        if abs(self.tflops - derived) > TOLERANCE * derived:
            raise ContradictionError(
                "tflops",
                f"{self.tflops:g}",
                f"within {TOLERANCE:.0%} of units × clock × FLOPs per clock = {derived:.1f} TFLOPS "
                "(a sparse figure is twice the dense one)",
            )
        return self


class Host(Strict):
    """What the host costs that launches the kernels."""

    dispatch_us: Positive = Field(description="one operator, dispatched eagerly")
    synchronise_us: Positive = Field(description="one value that the host waits for")
    source: Text


class Rates(Strict):
    """What the device reaches in practice, for the estimate; peaks where it is not given."""

    tensor_tflops: Positive
    bandwidth_gb_s: Positive
    source: Text


class Hardware(Strict):
    """A GPU as the time model sees it."""

    hardware_id: Identifier
    name: Text
    device_names: tuple[Text, ...] = Field((), description="as the driver names the device")
    tensor_bf16: Peak = Field(description="bfloat16 tensor cores, float32 accumulation")
    cuda_fp32: Peak = Field(description="float32 CUDA cores")
    bandwidth_gb_s: Positive = Field(description="memory bandwidth, 1e9 byte a second")
    bandwidth_source: Text
    memory_gb: Positive = Field(description="memory, 1e9 byte")
    memory_source: Text
    host: Host | None = Field(None, description="host costs; without them the host takes no time")
    achieved: Rates | None = None

    @property
    def tensor_tflops(self) -> float:
        """Rate of the tensor cores that the estimate uses."""
        return self.achieved.tensor_tflops if self.achieved else self.tensor_bf16.tflops

    @property
    def memory_gb_s(self) -> float:
        """Rate of the memory that the estimate uses."""
        return self.achieved.bandwidth_gb_s if self.achieved else self.bandwidth_gb_s


def load_hardware(value: str, base: Path | None = None, source: str = "option") -> Hardware:
    """Load a hardware profile by id or path.

    Raises
    ------
    InputError
        If there is no such profile, or it is not valid.
    """
    path = resolve("hardware", value, base, source)
    hardware = validate(Hardware, read_mapping(path), path)
    if path.parent.name == "hardware" and path.stem != hardware.hardware_id and "/" not in value:
        raise InputError(path, "hardware_id", shown(hardware.hardware_id), shown(path.stem))
    return hardware
