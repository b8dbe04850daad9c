"""Precision as a rewrite of steps: how many bits each tensor of a forward has.

A layer's forward is written once, as the modules of the checkpoint are:
``model`` for the checkpoint's own dtype, ``float32`` where a module asks for it.
A :class:`Precision` rewrites it for other formats, and for ``torch.autocast``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from operator import is_
from typing import Any, Final, TypeAlias

from mkdocs_dsocr.layers.autocast import Autocast
from mkdocs_dsocr.layers.formats import FORMATS, Format
from mkdocs_dsocr.layers.layer import Child, Layer, Step
from mkdocs_dsocr.layers.operations import DType, Keep, Operation, Tensor

Tensors: TypeAlias = tuple[Tensor, ...]
DECLARED: Final = (FORMATS["bf16"], FORMATS["fp16"])
"""Formats of 16 bits, which a tensor of the checkpoint's own dtype has by default."""


@dataclass(frozen=True)
class Precision:
    """The formats of a run, and whether its operations are fused.

    Attributes
    ----------
    weight
        Of the weights of linears.
    activation
        Of all activations that are not float32 or integers.
    kv_cache
        Of keys and values.
    autocast
        Whether the run is under ``torch.autocast`` to bfloat16.
    eager
        Whether every operation is a kernel of its own.
    plain
        Of norms, convolutions, embeddings, position tables and biases; 16 bits where not given.
    kept
        Modules whose linears have the plain format, whatever `weight` is.
    inputs
        What the inputs of a layer are under autocast, in the order in which
        its forward mentions them; as declared where the list ends.
    """

    weight: Format = FORMATS["bf16"]
    activation: Format = FORMATS["bf16"]
    kv_cache: Format = FORMATS["bf16"]
    autocast: bool = False
    eager: bool = False
    plain: Format | None = None
    kept: tuple[str, ...] = ()
    inputs: tuple[DType, ...] = ()

    def stored(self, tensor: Tensor) -> Tensor:
        """Return a tensor in the format in which it is stored."""
        if tensor.dtype != "model":
            return tensor
        chosen = {
            "activation": self.activation,
            "weight": self.weight if tensor.columns is not None else self.plain,
            "buffer": self.plain,
            "kv_cache": self.kv_cache,
        }.get(tensor.role)
        is_declared = chosen is None or (tensor.format is None and chosen in DECLARED)
        return tensor if is_declared else dataclasses.replace(tensor, format=chosen)

    def applied(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return the steps of a forward in this precision, children included."""
        cast = tuple(Autocast(self.inputs).steps(steps)) if self.autocast else steps
        stored: dict[int, Tensor] = {}  # what several steps mention is one object, evaluated once

        def store(tensors: Tensors) -> Tensors:
            for tensor in tensors:
                if id(tensor) not in stored:
                    stored[id(tensor)] = self.stored(tensor)
            found = tuple(stored[id(tensor)] for tensor in tensors)
            return tensors if all(map(is_, found, tensors)) else found

        return tuple(self._applied(step, store) for step in cast)

    def _applied(self, step: Step, store: Callable[[Tensors], Tensors]) -> Step:
        if isinstance(step, Keep):
            return Keep(store(step.tensors))
        found: dict[str, Any] = {"reads": store(step.reads), "writes": store(step.writes)}
        if isinstance(step, Operation):
            found["compute_dtype"] = self._compute_dtype(step)
            if step.in_place:
                both = tuple(map(store, step.in_place))
                found["in_place"] = step.in_place if all(map(is_, both, step.in_place)) else both
        else:
            found |= self._layers(step)
        is_same = all(value is getattr(step, name) for name, value in found.items())
        return step if is_same else dataclasses.replace(step, **found)

    def _layers(self, child: Child) -> dict[str, Layer]:
        """Return the layers of a child in its precision."""
        precision = self
        if child.inputs != self.inputs:
            precision = dataclasses.replace(precision, inputs=child.inputs)
        if child.name in self.kept:
            precision = dataclasses.replace(precision, weight=self.plain or FORMATS["bf16"])
        return {
            name: dataclasses.replace(layer, precision=precision)
            for name in ("layer", "last", "largest")
            if (layer := getattr(child, name)) is not None
        }

    @property
    def compute_dtypes(self) -> set[str]:
        """Formats at whose peak tensor cores work."""
        others = (self.weight, self.kv_cache, self.activation)
        # Convolutions keep the plain format.
        return {self._common(other) for other in others} | {self._common(FORMATS["bf16"])}

    @property
    def fewest_bits(self) -> int:
        return min(f.bits for f in (self.weight, self.activation, self.kv_cache))

    def _common(self, other: Format) -> str:
        """Return the format of a product with activations: theirs, if equal or wide, or bf16."""
        wide = self.activation.bits >= FORMATS["bf16"].bits
        return self.activation.name if wide or other == self.activation else "bf16"

    def _compute_dtype(self, operation: Operation) -> str:
        if operation.unit != "tensor":
            return operation.compute_dtype
        weights = [t for t in operation.reads if t.role == "weight"]
        if weights:
            is_linear = any(t.columns is not None for t in weights)
            return self._common(self.weight if is_linear else FORMATS["bf16"])
        is_cached = any(t.role == "kv_cache" for t in operation.reads)
        return self._common(self.kv_cache if is_cached else self.activation)
