"""What one unit of work takes on a GPU, in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.quantities import less, ratio, select

SECTOR_BYTES: Final = 32
"""What an access that is not coalesced moves between the L2 cache and an SM."""
MEASURED_LAUNCH_US: Final = (19, 35)
"""What an operator of eager decode took on the virtual machines of ``data/measurements``."""


def slowest_launch_us(hardware: Hardware) -> float:
    """Return the host time of an operator on the slowest CPU that is known: measured or stated."""
    return max(hardware.dispatch_us, MEASURED_LAUNCH_US[1])


@dataclass(frozen=True)
class MsPer:
    """Milliseconds that a GPU and its host need for one unit of work.

    Numbers, arrays (an entry a GPU) or symbols of the fields' names.

    Attributes
    ----------
    tensor_peak
        For a FLOP on tensor cores at the dense peak, by format.
    tensor_factor
        The peak over the achieved rate of tensor cores.
    vector_factor
        0 where products of one row have kernels of their own, which do not use tensor cores; 1
        where they run like all products.
    cuda_ms, bandwidth_ms
        For a FLOP on CUDA cores, and a byte of memory, at the peaks.
    memory_ms, l2_ms
        For a byte from memory at the achieved rate, and for any byte through the L2 cache; the
        latter is 0 where the cache is not modelled.
    l2_bytes
        Activations of a kernel that fit the L2 cache; 0 where it is not modelled.
    element_ms, sector_ms, score_ms
        For an element that needs an address of its own, for one that moves a whole sector, and
        for an attention score.
    product_ms, vector_ms, elementwise_ms, reduction_ms, attention_ms
        Minimum times of kernels.
    units
        The number of SMs.
    dispatch_ms, sync_ms
        On the host, for one launch and for one wait.
    """

    tensor_peak: Mapping[str, Any]
    tensor_factor: Any
    vector_factor: Any
    cuda_ms: Any
    bandwidth_ms: Any
    memory_ms: Any
    l2_ms: Any
    l2_bytes: Any
    element_ms: Any
    sector_ms: Any
    score_ms: Any
    product_ms: Any
    vector_ms: Any
    elementwise_ms: Any
    reduction_ms: Any
    attention_ms: Any
    units: Any
    dispatch_ms: Any
    sync_ms: Any


RATES: Final = tuple(f.name for f in dataclasses.fields(MsPer) if f.name != "tensor_peak")
"""The fields of :class:`MsPer` that are one number each."""


def ms_per(hardware: Hardware) -> MsPer:
    """Return the times of one GPU."""
    known = [name for name in FORMATS if hardware.peak(name) is not None]
    peak = {name: 1e-9 / hardware.peak_tflops(name) for name in known}
    return MsPer(tensor_peak=peak, **rates(quantities(hardware)))


def quantities(hardware: Hardware) -> dict[str, float]:
    """Return what :func:`rates` takes of a profile."""
    kernels = hardware.kernel_rates
    l2 = hardware.l2 if kernels.l2_share else None
    # Elements and scores a clock were measured in clocks of the tensor cores' peak.
    chip = hardware.tensor_peak
    return {
        "cuda_tflops": hardware.cuda_fp32.tflops,
        "bandwidth_gb_s": hardware.bandwidth_gb_s,
        "units": chip.units,
        "unit_clocks": chip.units * chip.clock_ghz * 1e6,
        "l2_bytes": l2.megabytes * 1e6 if l2 else 0.0,
        "l2_share": kernels.l2_share or 0.0,
        "sector_share": kernels.sector_share or kernels.l2_share or kernels.bandwidth_share,
        "has_vector": float(kernels.matvec_us is not None),
        "matvec_us": kernels.matvec_us if kernels.matvec_us is not None else kernels.gemm_us,
        "dispatch_us": hardware.dispatch_us,
        "synchronise_us": hardware.synchronise_us,
    } | {
        name: getattr(kernels, name)
        for name in (
            "tensor_share",
            "bandwidth_share",
            "gemm_us",
            "elementwise_us",
            "reduction_us",
            "attention_us",
            "elements_per_clock",
            "scores_per_clock",
        )
    }


def rates(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return :data:`RATES` from peaks, shares and minimum times: numbers, arrays or symbols.

    Parameters
    ----------
    of
        What :func:`quantities` returns.
    """
    bandwidth = ratio(1e-6, of["bandwidth_gb_s"])
    memory = ratio(bandwidth, of["bandwidth_share"])
    share = of["l2_share"]
    has_l2 = less(0, share)
    # Without an L2 cache a byte comes from memory: its other time is 0, and the longer one counts.
    l2 = select(has_l2, ratio(bandwidth, select(has_l2, share, 1)), 0)
    element = ratio(1, of["elements_per_clock"] * of["unit_clocks"])
    return {
        "tensor_factor": ratio(1, of["tensor_share"]),
        "vector_factor": 1 - of["has_vector"],
        "cuda_ms": ratio(1e-9, of["cuda_tflops"]),
        "bandwidth_ms": bandwidth,
        "memory_ms": memory,
        "l2_ms": l2,
        "l2_bytes": of["l2_bytes"],
        "element_ms": element,
        "sector_ms": SECTOR_BYTES * ratio(bandwidth, of["sector_share"]),
        "score_ms": ratio(1, of["scores_per_clock"] * of["unit_clocks"]),
        "product_ms": ratio(of["gemm_us"], 1000),
        "vector_ms": ratio(of["matvec_us"], 1000),
        "elementwise_ms": ratio(of["elementwise_us"], 1000),
        "reduction_ms": ratio(of["reduction_us"], 1000),
        "attention_ms": ratio(of["attention_us"], 1000),
        "units": of["units"],
        "dispatch_ms": ratio(of["dispatch_us"], 1000),
        "sync_ms": ratio(of["synchronise_us"], 1000),
    }
