"""Hardware profiles: peaks that can be derived, each with its source."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, repr_short
from mkdocs_dsocr.inputs.fields import Identifier, Positive, PositiveInt, Strict, Text
from mkdocs_dsocr.inputs.files import read_mapping, stamps, validate
from mkdocs_dsocr.inputs.references import resolve

TOLERANCE = 0.01
"""How far a stated peak may be from units × clock × FLOPs per clock."""

NonNegative = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(gt=0, le=1)]


class Peak(Strict):
    """A dense peak, and the product from which it comes."""

    tflops: Positive = Field(description="dense peak, 1e12 FLOPs a second")
    units: Annotated[int, Field(ge=1, le=10**6)] = Field(description="units on the chip")
    clock_ghz: Positive = Field(description="clock at which the peak is stated, 1e9 Hz")
    flops_per_clock: PositiveInt = Field(
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


class Cache(Strict):
    """A cache that may serve part of the traffic."""

    megabytes: Positive = Field(description="1e6 byte")
    source: Text


class KernelRates(Strict):
    """How kernels of one kind run: start + the longest of work / (share × peak).

    Times are the kernels' own, without the gaps between launches.
    """

    start_us: NonNegative = Field(description="time of a kernel that does next to nothing")
    tensor_share: Share = Field(1.0, description="achieved share of the dense tensor peak")
    bandwidth_share: Share = Field(description="achieved share of the peak bandwidth")
    kind: Literal["measured", "inherited", "assumed"] = Field(
        description="measured on this GPU, taken from one of the same architecture, or assumed"
    )
    source: Text


def _assumed(start_us: float, tensor_share: float) -> KernelRates:
    return KernelRates(
        start_us=start_us,
        tensor_share=tensor_share,
        bandwidth_share=0.8,
        kind="assumed",
        source="assumption: between what H100, H200 and RTX 5090 were measured at",
    )


class Kernels(Strict):
    """How kernels run on the device, by kind; assumed where a profile does not say."""

    product: KernelRates = Field(_assumed(3.0, 0.7), description="matrix products and convolutions")
    attention: KernelRates = Field(_assumed(6.0, 0.5), description="fused attention")
    other: KernelRates = Field(
        _assumed(1.5, 1.0), description="elementwise operations, copies, norms, reductions"
    )


class Rates(Strict):
    """What the device reaches in practice, for the estimate; peaks where it is not given."""

    tensor_tflops: Positive = Field(description="a large bfloat16 product")
    bandwidth_gb_s: Positive = Field(description="a large copy on the device")
    source: Text


class Hardware(Strict):
    """A GPU as the time model sees it."""

    hardware_id: Identifier
    name: Text
    device_names: tuple[Text, ...] = Field((), description="as the driver names the device")
    tensor_bf16: Peak | None = Field(
        None, description="bfloat16 tensor cores, float32 accumulation"
    )
    tensor_fp16: Peak | None = Field(None, description="the same for float16; bfloat16's if absent")
    tensor_fp8: Peak | None = Field(None, description="the same for 8-bit floats")
    tensor_int8: Peak | None = Field(None, description="8-bit integers, 32-bit accumulation")
    tensor_int4: Peak | None = Field(None, description="4-bit integers, 32-bit accumulation")
    cuda_fp32: Peak = Field(description="float32 CUDA cores")
    bandwidth_gb_s: Positive = Field(description="memory bandwidth, 1e9 byte a second")
    bandwidth_source: Text
    memory_gb: Positive = Field(description="memory, 1e9 byte")
    memory_source: Text
    l2: Cache | None = Field(None, description="last-level cache in front of the memory")
    host: Host | None = Field(None, description="host costs; without them the host takes no time")
    kernels: Kernels = Field(Kernels(), description="how kernels run")
    achieved: Rates | None = None

    def peak(self, dtype: str) -> Peak | None:
        """Return the dense peak for operands of a format, if there is one.

        It is that of tensor cores, and of CUDA cores for float32.
        """
        peaks = {
            "bf16": self.tensor_bf16,
            "fp16": self.tensor_fp16 or self.tensor_bf16,
            "fp8": self.tensor_fp8,
            "int8": self.tensor_int8,
            "int4": self.tensor_int4,
            "fp32": self.cuda_fp32,  # as PyTorch runs it by default, without TF32
        }
        return peaks.get(dtype)

    def peak_tflops(self, dtype: str) -> float:
        """Return the dense peak of tensor cores.

        Raises
        ------
        LookupError
            If they do not know the format.
        """
        peak = self.peak(dtype)
        if peak is None:
            raise LookupError(f"{self.name} has no tensor cores for {dtype}")
        return peak.tflops

    def kernel_rates(self, kind: str) -> KernelRates:
        """Return how kernels of a kind run; `achieved` rates limit its shares."""
        rates: KernelRates = getattr(self.kernels, kind)
        if self.achieved is None:
            return rates
        peak = self.tensor_bf16 or self.tensor_fp16
        assert peak is not None  # the profile's own validation
        tensor = self.achieved.tensor_tflops / peak.tflops
        memory = self.achieved.bandwidth_gb_s / self.bandwidth_gb_s
        return rates.model_copy(
            update={
                "tensor_share": min(rates.tensor_share, tensor),
                "bandwidth_share": min(rates.bandwidth_share, memory),
            }
        )

    @model_validator(mode="after")
    def _has_a_peak(self) -> Self:
        if self.tensor_bf16 is None and self.tensor_fp16 is None:
            raise ContradictionError("tensor_bf16", "nothing", "tensor_bf16, tensor_fp16 or both")
        return self

    @property
    def dispatch_us(self) -> float:
        """Host time of one operator, µs; 0 where the profile states no host costs."""
        return self.host.dispatch_us if self.host else 0.0

    @property
    def synchronise_us(self) -> float:
        """Host time of one value that the host waits for, µs; 0 like :attr:`dispatch_us`."""
        return self.host.synchronise_us if self.host else 0.0


def load_hardware(value: str, base: Path | None = None, source: str = "option") -> Hardware:
    """Load a hardware profile by id or path.

    Raises
    ------
    InputError
        If there is no such profile, or it is not valid.
    """
    path = resolve("hardware", value, base, source)
    hardware = _read(path, stamps([path]))
    if path.parent.name == "hardware" and path.stem != hardware.hardware_id and "/" not in value:
        raise InputError(
            path, "hardware_id", repr_short(hardware.hardware_id), repr_short(path.stem)
        )
    return hardware


@lru_cache(maxsize=128)
def _read(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> Hardware:
    """Return a profile: read once, as long as its file is as its stamp says."""
    return validate(Hardware, read_mapping(path), path)
