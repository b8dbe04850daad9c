"""Hardware profiles: peaks that can be derived, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from mkdocs_dsocr import resources
from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, repr_short
from mkdocs_dsocr.inputs.fields import Identifier, Positive, PositiveInt, Share, Strict, Text
from mkdocs_dsocr.inputs.files import read_mapping, stamps, validate
from mkdocs_dsocr.inputs.references import resolve

TOLERANCE = 0.01
"""How far a stated peak may be from units × clock × FLOPs per clock."""

RESERVED_BYTES: Final = 632_094_720
"""What the CUDA context, cuBLAS and cuDNN keep of the memory: measured on an H100 with CUDA 13
(``data/measurements/h100-sxm/permuted-1``), assumed elsewhere."""

NonNegative = Annotated[float, Field(ge=0, le=1e9)]


class Peak(Strict):
    """A dense peak, and the product from which it comes."""

    tflops: Positive = Field(description="dense peak, 1e12 FLOPs per second")
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


class Board(Strict):
    """What running the board costs. No time depends on it."""

    power_w: Positive = Field(description="board power, W; every second is charged in full")
    usd_per_hour: Positive = Field(description="price of an hour, US dollars: an example")
    source: Text


class Cache(Strict):
    """A cache that may serve part of the traffic."""

    megabytes: Positive = Field(description="1e6 byte")
    source: Text


Provenance = Literal["measured", "inherited", "assumed"]


class KernelConstants(Strict):
    """Constants of the time model that have one source.

    Minimum times are a kernel's own, without the gap before the next one.
    """

    kind: Provenance = Field(
        description="measured on this GPU, taken from one of the same architecture, or assumed"
    )
    source: Text
    bandwidth_share: Share | None = Field(
        None, description="bandwidth that large kernels reach, of the peak"
    )
    l2_share: Positive | None = Field(
        None,
        description="rate of the L2 cache over the memory bandwidth; not given: activations are "
        "timed as if they came from memory",
    )
    sector_share: Positive | None = Field(
        None,
        description="rate of 32-byte sectors between L2 cache and SMs over the memory bandwidth; "
        "not given: l2_share, or else bandwidth_share",
    )
    tensor_share: Share | None = Field(
        None, description="tensor-core rate that large products reach, of the dense peak"
    )
    gemm_us: NonNegative | None = Field(None, description="minimum time of a matrix product")
    matvec_us: NonNegative | None = Field(
        None,
        description="the same of a product of one row; not given: these run like all products",
    )
    elementwise_us: NonNegative | None = Field(
        None, description="minimum time of an elementwise kernel or a copy"
    )
    reduction_us: NonNegative | None = Field(
        None, description="minimum time of a norm, a sum, a softmax or a sort"
    )
    attention_us: NonNegative | None = Field(None, description="minimum time of fused attention")
    elements_per_clock: Positive | None = Field(
        None, description="elements a clock and SM where each needs an address of its own"
    )
    scores_per_clock: Positive | None = Field(
        None, description="attention scores a clock and SM, softmax and bias included"
    )


TIME_ERROR: Final[dict[Provenance, float]] = {"measured": 0.1, "inherited": 0.2, "assumed": 0.4}
"""Relative error of device times that nine of ten stay below, by the kind of the constants.

``measured``: stages on an H100 and an H200, the projector left out. ``inherited``: the few figures
that others published. ``assumed``: twice that, an assumption.
"""
CONSTANTS: Final = tuple(KernelConstants.model_fields)[2:]
"""Names of the constants of the time model."""
ASSUMED: Final = KernelConstants(
    kind="assumed",
    source="assumption: about what H100 and A100 were measured at",
    bandwidth_share=0.8,
    tensor_share=0.7,
    gemm_us=3.0,
    elementwise_us=1.5,
    reduction_us=3.0,
    attention_us=6.0,
    elements_per_clock=1.3,
    scores_per_clock=3.2,
)
"""What is used of the constants that a profile does not state."""


@dataclass(frozen=True)
class KernelRates:
    """The constants of the time model, each as in :class:`KernelConstants`."""

    bandwidth_share: float
    l2_share: float | None
    sector_share: float | None
    tensor_share: float
    gemm_us: float
    matvec_us: float | None
    elementwise_us: float
    reduction_us: float
    attention_us: float
    elements_per_clock: float
    scores_per_clock: float


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
    tensor_nvfp4: Peak | None = Field(None, description="4-bit floats, a scale for 16 values")
    tensor_mxfp4: Peak | None = Field(
        None, description="4-bit floats, a scale for 32 values; nvfp4's if absent"
    )
    cuda_fp32: Peak = Field(description="float32 CUDA cores")
    bandwidth_gb_s: Positive = Field(description="memory bandwidth, 1e9 byte per second")
    bandwidth_source: Text
    memory_bytes: Annotated[int, Field(ge=1, le=10**15)] = Field(
        description="memory as the driver reports it"
    )
    memory_source: Text
    reserved_bytes: Annotated[int, Field(ge=0, le=10**12)] = Field(
        RESERVED_BYTES, description="memory that the CUDA context and its libraries take"
    )
    l2: Cache | None = Field(None, description="last-level cache in front of the memory")
    host: Host | None = Field(None, description="host costs; without them the host takes no time")
    board: Board | None = Field(
        None, description="power and an example of a price, for `dsocr plan`; not given: no cost"
    )
    kernels: tuple[KernelConstants, ...] = Field(
        (), description="constants of the time model, those of one source together"
    )
    achieved: Rates | None = None

    @property
    def room_bytes(self) -> int:
        """Memory that a model can use."""
        return max(0, self.memory_bytes - self.reserved_bytes)

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
            "nvfp4": self.tensor_nvfp4,
            "mxfp4": self.tensor_mxfp4 or self.tensor_nvfp4,
            "fp32": self.cuda_fp32,  # as PyTorch runs it by default, without TF32
        }
        return peaks.get(dtype)

    @property
    def tensor_peak(self) -> Peak:
        """The dense peak of tensor cores for 16 bits."""
        peak = self.tensor_bf16 or self.tensor_fp16
        assert peak is not None  # the profile's own validation
        return peak

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

    @property
    def constants(self) -> dict[str, tuple[float, KernelConstants]]:
        """Each constant of the time model that is known or assumed, with where it comes from."""
        found: dict[str, tuple[float, KernelConstants]] = {}
        for block in (ASSUMED, *self.kernels):
            for name in CONSTANTS:
                value = getattr(block, name)
                if value is not None:
                    found[name] = value, block
        return {name: found[name] for name in CONSTANTS if name in found}

    @property
    def time_error(self) -> float:
        """Relative error of device times that is expected, see :data:`TIME_ERROR`."""
        # The rate of sectors matters to a few copies only.
        kinds = [of.kind for name, (_, of) in self.constants.items() if name != "sector_share"]
        return max(TIME_ERROR[kind] for kind in kinds)

    @property
    def kernel_rates(self) -> KernelRates:
        """How kernels run; `achieved` rates limit the shares of the peaks."""
        of: dict[str, Any] = dict.fromkeys(CONSTANTS)
        of |= {name: value for name, (value, _) in self.constants.items()}
        if self.achieved is not None:
            tensor = self.achieved.tensor_tflops / self.tensor_peak.tflops
            memory = self.achieved.bandwidth_gb_s / self.bandwidth_gb_s
            of["tensor_share"] = min(of["tensor_share"], tensor)
            of["bandwidth_share"] = min(of["bandwidth_share"], memory)
        return KernelRates(**of)

    @model_validator(mode="after")
    def _has_a_peak(self) -> Self:
        if self.tensor_bf16 is None and self.tensor_fp16 is None:
            raise ContradictionError("tensor_bf16", "nothing", "tensor_bf16, tensor_fp16 or both")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in CONSTANTS:
            given = [getattr(block, name) for block in self.kernels]
            if len(given) - given.count(None) > 1:
                raise ContradictionError("kernels", f"{name} more than once", "each constant once")
        if self.kernel_rates.l2_share is not None and self.l2 is None:
            raise ContradictionError("kernels", "l2_share without l2", "l2, or no l2_share")
        if self.achieved is not None:
            most = {"tensor_tflops": self.tensor_peak.tflops, "bandwidth_gb_s": self.bandwidth_gb_s}
            for name, limit in most.items():
                if (value := getattr(self.achieved, name)) > limit:
                    allowed = f"at most the peak of {limit:g}: no kernel is faster"
                    raise ContradictionError(f"achieved.{name}", f"{value:g}", allowed)
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
    is_shipped = path.parent == resources.data_dir() / "hardware"
    if is_shipped and path.stem != hardware.hardware_id:
        raise InputError(
            path, "hardware_id", repr_short(hardware.hardware_id), repr_short(path.stem)
        )
    return hardware


def with_memory_bytes(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile with the memory in bytes where an earlier version has it in 1e9 byte.

    Such a profile states what a model can use, so nothing of it is reserved.
    """
    result = dict(content)
    old = result.get("memory_gb")
    if isinstance(old, int | float) and 0 < old < 1e6 and "memory_bytes" not in result:
        del result["memory_gb"]
        result |= {"memory_bytes": round(old * 1e9), "reserved_bytes": 0}
    return result


@lru_cache(maxsize=128)
def _read(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> Hardware:
    """Return a profile: read once, as long as its file is as its stamp says."""
    return validate(Hardware, with_memory_bytes(read_mapping(path)), path)
