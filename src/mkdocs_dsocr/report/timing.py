"""Predicted device time: each kernel takes as long as the ceiling that binds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from mkdocs_dsocr.inputs import Hardware
from mkdocs_dsocr.quantities import maximum, ratio

CEILINGS: Final = ("tensor cores", "CUDA cores", "memory")


def rates_per_ms(rate: str | None, hardware: Hardware) -> tuple[float, float, float]:
    """Return what a GPU does in a millisecond at each of :data:`CEILINGS`.

    The dense peak of tensor cores in the format `rate` (infinite where a kernel has no
    products there), the peak of CUDA cores, the bandwidth. A kernel takes as long as the
    one that it keeps busy for longest. Rates are the achieved ones where the profile has them.
    """
    return (
        hardware.tensor_tflops(rate) * 1e9 if rate is not None else math.inf,
        hardware.cuda_fp32.tflops * 1e9,
        hardware.memory_gb_s * 1e6,
    )


def host_ms(launches: Any, waits: Any, dispatch_ms: Any, wait_ms: Any) -> Any:
    """Return what launching operators, and waiting for values, costs the host."""
    return launches * dispatch_ms + waits * wait_ms


def estimate_ms(device_ms: Any, host_ms: Any) -> Any:
    """Return the longer of device and host: the host launches while the device works."""
    return maximum(device_ms, host_ms)


def floor_ms(least_tensor_ms: Any, least_bytes: Any, bytes_per_ms: Any) -> Any:
    """Return the time that no implementation of the model is faster than.

    Tensor FLOPs that cannot be left out over their peak, or compulsory bytes over
    the bandwidth.
    """
    return maximum(least_tensor_ms, ratio(least_bytes, bytes_per_ms))


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
