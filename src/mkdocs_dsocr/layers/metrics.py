"""What a layer's own operations come to: one function a figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mkdocs_dsocr.layers.layer import Layer
from mkdocs_dsocr.layers.memory import moments
from mkdocs_dsocr.layers.operations import Operation
from mkdocs_dsocr.quantities import Quantity, largest, total

MetricOf: TypeAlias = Callable[[Layer], Quantity]


def tensor_core_flops(layer: Layer) -> Quantity:
    """Return what the layer's own operations do on tensor cores."""
    return total(k.tensor_core_flops for k in layer.kernels())


def cuda_core_flops(layer: Layer) -> Quantity:
    """Return what the layer's own operations do on CUDA cores."""
    return total(k.cuda_core_flops for k in layer.kernels())


def padded_tensor_core_flops(layer: Layer) -> Quantity:
    """Return what tensor cores do with every product padded to whole tiles."""
    return total(o.padded_tensor_core_flops for o in layer.operations())


def matmul_flops(layer: Layer) -> Quantity:
    """Return what PyTorch's counter counts of the layer's own operations."""
    return total(o.matmul_flops for o in layer.operations())


def io_bytes(layer: Layer) -> Quantity:
    """Return the bytes that cross the borders of the layer's own kernels."""
    return total(k.io_bytes for k in layer.kernels())


def eager_bytes(layer: Layer) -> Quantity:
    """Return the bytes that the layer's own operations touch, each running alone."""
    return total(o.eager_bytes for o in layer.operations())


def least_bytes(layer: Layer) -> Quantity:
    """Return the bytes that the layer cannot but move, however it is run.

    Its weights once, its KV cache once (old positions read, new ones written),
    and what enters or leaves the model here.
    """
    reads = (t for o in layer.operations() for t in o.reads if t.role == "weight")
    weights = {t.name: t.least_bytes for t in reads}
    rest = (t.bytes for t in layer.stored((*layer.kv_cache(), *layer.boundary())))
    return total((*weights.values(), *rest))


def least_tensor_core_flops(layer: Layer) -> Quantity:
    """Return the FLOPs on tensor cores without those that a causal mask throws away."""
    return total(o.least_tensor_core_flops for o in layer.operations())


def host_syncs(layer: Layer) -> Quantity:
    """Return how often the host waits for a value of the layer itself."""
    return total(o.host_syncs for o in layer.operations())


def kernel_launches(layer: Layer) -> Quantity:
    """Return how many kernels the layer's own operations launch."""
    return total(k.kernel_launches for k in layer.kernels())


def dispatches(layer: Layer) -> Quantity:
    """Return how many operators the layer itself dispatches."""
    return total(o.launches for o in layer.operations())


def elementwise_flops(layer: Layer) -> Quantity:
    """Return what the layer's own operations do beside matrix products."""
    return total(o.elementwise_flops for o in layer.operations())


def weight_bytes(layer: Layer) -> Quantity:
    """Return the bytes of the layer's own parameters."""
    return total(t.bytes for t in layer.stored(p.tensor for p in layer.parameters()))


def num_parameters(layer: Layer) -> Quantity:
    """Return the number of elements in the layer's own parameters."""
    return total(p.elements for p in layer.parameters())


def kvcache_bytes(layer: Layer) -> Quantity:
    """Return the bytes of the layer's own KV cache."""
    return total(t.bytes for t in layer.stored(layer.kv_cache()))


def activation_bytes(layer: Layer) -> Quantity:
    """Return the most activations in memory while one of the layer's own operations runs."""
    return largest(m.bytes for m in moments(layer) if isinstance(m.step, Operation))
