"""Predicted device time: each kernel takes as long as the ceiling that binds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.operations import Kernel

CEILINGS: Final = ("tensor cores", "CUDA cores", "memory")


def kernel_times_ms(kernel: Kernel, hardware: Hardware) -> tuple[float, float, float]:
    """Return the time that a kernel needs under each of :data:`CEILINGS`.

    FLOPs over the dense tensor peak, FLOPs over the CUDA-core peak, bytes over
    the bandwidth; the largest is the kernel's time. Rates are the achieved ones
    where the profile has them.
    """
    work = (kernel.tensor_core_flops, kernel.cuda_core_flops, kernel.io_bytes)
    tensor, cuda, memory = (
        float(w) / rate  # type: ignore[arg-type]
        for w, rate in zip(work, rates_per_ms(kernel, hardware), strict=True)
    )
    return tensor, cuda, memory


def rates_per_ms(kernel: Kernel, hardware: Hardware) -> tuple[float, float, float]:
    """Return what the estimate takes each of :data:`CEILINGS` to do in a millisecond."""
    has_products = any(o.products and o.unit == "tensor" for o in kernel.operations)
    return (
        hardware.tensor_tflops(kernel.rate) * 1e9 if has_products else math.inf,
        hardware.cuda_fp32.tflops * 1e9,
        hardware.memory_gb_s * 1e6,
    )


def least_tensor_ms(layer: BaseLayer, hardware: Hardware) -> float:
    """Return the time of a layer's own products at the dense peaks, masked pairs left out."""
    times = [
        float(o.least_tensor_core_flops) / (hardware.peak_tflops(o.rate) * 1e9)  # type: ignore[arg-type]
        for o in layer.operations()
        if o.products and o.unit == "tensor"
    ]
    return sum(times)


def series_of_maximum(first: Sequence[float], last: Sequence[float], steps: int) -> list[float]:
    """Return the sum of the largest component over equally spaced steps, by component.

    The components go from `first` to `last` in a straight line. Where the same
    one is largest at both ends it is so between them, and the sum is an
    arithmetic series; otherwise the range is halved.
    """
    result = [0.0] * len(first)
    low, high = first.index(max(first)), last.index(max(last))
    if low == high or steps == 1:
        result[low] = steps * (first[low] + last[low]) / 2
        return result
    half = steps // 2
    slope = [(b - a) / (steps - 1) for a, b in zip(first, last, strict=True)]
    middle = [a + (half - 1) * s for a, s in zip(first, slope, strict=True)]
    after = [m + s for m, s in zip(middle, slope, strict=True)]
    parts = (series_of_maximum(first, middle, half), series_of_maximum(after, last, steps - half))
    return [a + b for a, b in zip(*parts, strict=True)]
