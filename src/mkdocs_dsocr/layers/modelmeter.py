"""The layer contract of ModelMeter: seven answers of each layer, forward and backward.

Each answer is for one call, children included. The answers are numbers for integer (or NumPy)
dimensions and expressions for symbolic ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mkdocs_dsocr.layers import backward, memory, metrics
from mkdocs_dsocr.layers.layer import Layer, layer
from mkdocs_dsocr.layers.tree import resident, summed
from mkdocs_dsocr.quantities import BITS_PER_BYTE, GIGABYTE, TERABIT, TFLOP, Quantity, ratio

Answer = Callable[[Layer], Any]


def _answer(of: Callable[[Layer], Quantity], unit: int, what: str) -> Answer:
    """Return a method that answers with a figure in a unit."""

    def method(self: Layer) -> Any:
        return ratio(of(self), unit)

    method.__doc__ = what
    return method


def _flops(metric: metrics.MetricOf, what: str) -> Answer:
    return _answer(lambda layer: summed(layer, metric), TFLOP, f"TFLOPs (1e12) {what}")


def _traffic(metric: metrics.MetricOf, what: str) -> Answer:
    bits = f"Terabits (1e12 bit) that cross the borders of {what}"
    return _answer(lambda layer: BITS_PER_BYTE * summed(layer, metric), TERABIT, bits)


def _memory(of: Callable[[Layer], Quantity], what: str) -> Answer:
    return _answer(of, GIGABYTE, f"GB (1e9 byte) {what}")


def _intensity(*flops: metrics.MetricOf, moved: metrics.MetricOf) -> Answer:
    def method(self: Layer) -> Any:
        """FLOPs per bit; 0 where nothing moves."""
        bits = BITS_PER_BYTE * summed(self, moved)
        work = summed(self, flops[0]) + summed(self, flops[1])
        return 0 if isinstance(bits, int) and bits == 0 else ratio(work, bits)

    return method


@layer
class BaseLayer(Layer):
    """Base of all classes of analytic layers, with the answers that ModelMeter asks for."""

    forward_tensor_core_flops = _flops(metrics.tensor_core_flops, "on tensor cores.")
    forward_cuda_core_flops = _flops(metrics.cuda_core_flops, "on CUDA cores.")
    forward_cal_io = _traffic(metrics.io_bytes, "its kernels.")
    forward_arithmetic_intensity = _intensity(
        metrics.tensor_core_flops, metrics.cuda_core_flops, moved=metrics.io_bytes
    )
    forward_memory_weight = _memory(
        lambda layer: resident(layer, metrics.weight_bytes), "of resident parameters."
    )
    forward_memory_activation = _memory(
        lambda layer: memory.peak(layer).bytes, "of activations at their peak."
    )
    forward_memory_kvcache = _memory(
        lambda layer: resident(layer, metrics.kvcache_bytes), "of KV cache after the call."
    )
    backward_tensor_core_flops = _flops(
        backward.tensor_core_flops, "on tensor cores; attention keeps its scores."
    )
    backward_cuda_core_flops = _flops(backward.cuda_core_flops, "on CUDA cores.")
    backward_cal_io = _traffic(backward.io_bytes, "the backwards of its kernels.")
    backward_arithmetic_intensity = _intensity(
        backward.tensor_core_flops, backward.cuda_core_flops, moved=backward.io_bytes
    )
    backward_memory_weight = _memory(
        lambda layer: resident(layer, metrics.weight_bytes),
        "of gradients: one for each parameter, in its format.",
    )
    backward_memory_activation = _memory(
        lambda layer: backward.kept(layer).bytes,
        "that the forward keeps for the backward, inputs included.",
    )
    backward_memory_kvcache = _memory(
        lambda layer: 0, "of gradients of keys and values: training has no cache."
    )
    recompute_flops = _flops(
        backward.recompute_flops, "of an attention that computes its scores again instead."
    )
