"""The backward of a layer: its work, its traffic, and what the forward keeps for it.

Everything that the forward reads as a parameter needs a gradient, and so does
what comes of it; pixels, rotary tables and the choice of experts do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.layer import Child, Layer
from mkdocs_dsocr.layers.memory import storages
from mkdocs_dsocr.layers.operations import Keep, Operation, Tensor, whole
from mkdocs_dsocr.quantities import Quantity, total

ELEMENTWISE: Final = 2
"""Elementwise FLOPs of a backward for each of its forward: the derivative, and its product with
the gradient that comes in. A convention: the table of costs speaks of forwards."""


def matmul_flops(layer: Layer) -> Quantity:
    """Return the products of the layer's own backward: one for each operand with a gradient."""
    return total(p.gradients * p.flops for o in layer.operations() for p in o.products)


def tensor_core_flops(layer: Layer) -> Quantity:
    """Return the part of them that runs on tensor cores."""
    operations = [o for o in layer.operations() if o.unit == "tensor"]
    return total(p.gradients * p.flops for o in operations for p in o.products)


def cuda_core_flops(layer: Layer) -> Quantity:
    """Return what the layer's own backward does on CUDA cores."""
    products = (
        p.gradients * p.flops for o in layer.operations() if o.unit == "cuda" for p in o.products
    )
    return total((*products, *(ELEMENTWISE * o.elementwise_flops for o in layer.operations())))


def recompute_flops(layer: Layer) -> Quantity:
    """Return the products that a fused attention computes again: the scores."""
    return total(o.products[0].flops for o in layer.operations() if o.recomputes)


def io_bytes(layer: Layer) -> Quantity:
    """Return the bytes that cross the borders of the backwards of the layer's own kernels."""
    return total(whole(_io_bytes(kernel)) for kernel in layer.kernels())


def _io_bytes(kernel: Kernel) -> Quantity:
    """Read the gradients of the outputs and the inputs; write the gradients of the inputs."""
    gradients = [t for t in (*kernel.outputs, *kernel.inputs) if t.dtype in ("model", "float32")]
    return total(t.bytes for t in (*gradients, *kernel.inputs))


@dataclass
class Kept:
    """Bytes that a call keeps for its backward.

    Attributes
    ----------
    inside
        Of what it makes itself.
    inputs, outputs
        Of what it is given and what it returns, by position.
    """

    inside: Quantity = 0
    inputs: dict[int, Quantity] = field(default_factory=dict)
    outputs: dict[int, Quantity] = field(default_factory=dict)

    @property
    def bytes(self) -> Quantity:
        return total((self.inside, *self.inputs.values(), *self.outputs.values()))


def kept(layer: Layer) -> Kept:
    """Return what one call of a layer keeps, children included, each storage once."""
    known = storages(layer.schedule)
    result, saved = Kept(), dict[str, Quantity]()
    for step in layer.schedule:
        if isinstance(step, Keep) or (isinstance(step, Child) and not step.calls):
            continue
        tensors = step.kept if isinstance(step, Operation) else _of_child(step, result)
        for tensor in tensors:
            if tensor.role in ("activation", "kv_cache"):
                key = tensor.view_of or tensor.name
                saved[key] = known.bytes.get(key, tensor.bytes)
    for key, size in saved.items():
        if key in known.inputs:
            result.inputs[known.inputs.index(key)] = size
        elif key in known.outputs:
            result.outputs[known.outputs.index(key)] = size
        else:
            result.inside = total((result.inside, size))
    return result


def _of_child(child: Child, result: Kept) -> list[Tensor]:
    """Return the caller's tensors that a child keeps; put what it keeps inside into `result`."""
    inner = kept(child.layer)
    result.inside = total((result.inside, _inside(child, inner)))
    if child.reads:
        unseen = [size for index, size in inner.outputs.items() if index >= len(child.writes)]
        result.inside = total((result.inside, *unseen))
    else:
        # What only holds others gives the first of them what it is given, and each next one
        # what the one before returned.
        if 0 in result.inputs:
            result.inside = total((result.inside, inner.inputs.get(0, 0)))
        result.inputs |= inner.inputs
        result.outputs |= inner.outputs
    return [
        *(t for index, t in enumerate(child.reads) if index in inner.inputs),
        *(t for index, t in enumerate(child.writes) if index in inner.outputs),
    ]


def _inside(child: Child, inner: Kept) -> Quantity:
    """Return what all modules of a child keep inside; links of a chain pass their input on."""
    links = child.count if child.active is None else 1
    between = inner.inputs.get(0, inner.outputs.get(0, 0)) if links > 1 else 0
    return total((links * inner.inside, (links - 1) * between))
