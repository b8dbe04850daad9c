"""Precisions: how many bits a value has, and what autocast makes of a forward.

A layer's forward is written once, as the modules of the checkpoint are:
``model`` for the checkpoint's own dtype, ``float32`` where a module asks for it.
A :class:`Precision` reads it for other formats, and under ``torch.autocast``.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mkdocs_dsocr.layers.formats import FORMATS, Format
from mkdocs_dsocr.layers.operations import DType, Keep, Operation, Tensor

if TYPE_CHECKING:
    from mkdocs_dsocr.layers.base import BaseLayer
from mkdocs_dsocr.layers.parts import Child, Part


@dataclass(frozen=True)
class Precision:
    """The formats of a run, and whether its operations are fused.

    Attributes
    ----------
    weight
        Of the weights of linears. Norms, convolutions, embeddings, position
        tables, biases and the router keep the checkpoint's 16 bits.
    activation
        Of all activations that are not float32 or integers.
    kv_cache
        Of keys and values.
    autocast
        Whether the run is under ``torch.autocast`` to bfloat16.
    eager
        Whether every operation is a kernel of its own.
    inputs
        What the inputs of a layer are under autocast, in the order in which
        its forward mentions them; as declared where the list ends.
    """

    weight: Format = FORMATS["bf16"]
    activation: Format = FORMATS["bf16"]
    kv_cache: Format = FORMATS["bf16"]
    autocast: bool = False
    eager: bool = False
    inputs: tuple[DType, ...] = ()

    def stored(self, tensor: Tensor) -> Tensor:
        """Return a tensor in the format in which it is stored."""
        if tensor.dtype != "model":
            return tensor
        chosen = {
            "activation": self.activation,
            "weight": self.weight if tensor.columns is not None else None,
            "kv_cache": self.kv_cache,
        }.get(tensor.role)
        return tensor if chosen is None else dataclasses.replace(tensor, format=chosen)

    def applied(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Return the parts of a forward in this precision, children included."""
        cast = tuple(_Autocast(self.inputs).parts(parts)) if self.autocast else parts
        return tuple(self._applied(part) for part in cast)

    def _applied(self, part: Part) -> Part:
        if isinstance(part, Keep):
            return Keep(self._all(part.tensors))
        reads, writes = self._all(part.reads), self._all(part.writes)
        if not isinstance(part, Operation):
            return dataclasses.replace(self._child(part), reads=reads, writes=writes)
        in_place = part.in_place and (self._all(part.in_place[0]), self._all(part.in_place[1]))
        return dataclasses.replace(
            part, reads=reads, writes=writes, in_place=in_place, rate=self._rate(part)
        )

    def _all(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self.stored(t) for t in tensors)

    def _child(self, child: Child) -> Child:
        precision = dataclasses.replace(self, inputs=child.inputs)
        layers = {
            name: dataclasses.replace(layer, precision=precision)
            for name in ("layer", "last", "largest")
            if (layer := getattr(child, name)) is not None
        }
        return dataclasses.replace(child, **layers)

    @property
    def rates(self) -> set[str]:
        """Formats at whose peak tensor cores work."""
        others = (self.weight, self.kv_cache, self.activation)
        # Convolutions keep 16 bits.
        return {self._common(other) for other in others} | {self._common(FORMATS["bf16"])}

    @property
    def fewest_bits(self) -> int:
        return min(f.bits for f in (self.weight, self.activation, self.kv_cache))

    def _common(self, other: Format) -> str:
        """Return the format of a product with activations: theirs, if equal, or 16 bits."""
        wide = self.activation.bits == FORMATS["bf16"].bits
        return self.activation.name if wide or other == self.activation else "bf16"

    def _rate(self, operation: Operation) -> str:
        if operation.unit != "tensor":
            return operation.rate
        weights = [t for t in operation.reads if t.role == "weight"]
        if weights:
            is_linear = any(t.columns is not None for t in weights)
            return self._common(self.weight if is_linear else FORMATS["bf16"])
        is_cached = any(t.role == "kv_cache" for t in operation.reads)
        return self._common(self.kv_cache if is_cached else self.activation)


@dataclass
class _Autocast:
    """Follows dtypes through a forward as ``torch.autocast("cuda", torch.bfloat16)`` sets them.

    Products run in bfloat16, norms, powers and softmax in float32, everything
    else in the widest of its inputs; what an operation does not get in its
    dtype is cast first, by an operation of its own.
    """

    inputs: tuple[DType, ...]
    dtypes: dict[str, DType] = field(default_factory=dict)
    returned: DType = "model"

    def parts(self, parts: tuple[Part, ...]) -> Iterator[Part]:
        """Yield the parts with their casts, and each child with what it is fed."""
        rest, last = list(self.inputs), self.inputs
        for part in parts:
            if not isinstance(part, Keep):
                self._meet_inputs(part, rest)
            if isinstance(part, Keep):
                yield Keep(tuple(map(self._now, part.tensors)))
            elif isinstance(part, Operation):
                yield from self._operation(part)
            else:
                last = yield from self._child(part, last)

    def _meet_inputs(self, part: Operation | Child, rest: list[DType]) -> None:
        for tensor in part.reads:
            key = tensor.view_of or tensor.name
            if tensor.role == "activation" and key not in self.dtypes:
                self.dtypes[key] = rest.pop(0) if rest else tensor.dtype
        for tensor in part.writes:
            self.dtypes.setdefault(tensor.view_of or tensor.name, tensor.dtype)

    def _now(self, tensor: Tensor) -> Tensor:
        """Return a tensor with the dtype that it has by now."""
        dtype = self.dtypes.get(tensor.view_of or tensor.name, tensor.dtype)
        is_ours = tensor.role == "activation" and tensor.dtype in ("model", "float32")
        return dataclasses.replace(tensor, dtype=dtype) if is_ours else tensor

    def _child(
        self, child: Child, last: tuple[DType, ...]
    ) -> Generator[Child, None, tuple[DType, ...]]:
        # What only holds others passes on what it gets, and each link what it returns.
        reads = tuple(map(self._now, child.reads))
        inputs = tuple(t.dtype for t in reads) or last
        self.returned = _returned(child.layer, inputs)
        self._write(child.writes, self.returned)
        writes = tuple(map(self._now, child.writes))
        yield dataclasses.replace(child, reads=reads, writes=writes, inputs=inputs)
        return (self.returned, *inputs[1:])

    def _operation(self, operation: Operation) -> Iterator[Operation | Keep]:
        reads = [self._now(t) for t in operation.reads]
        if operation.is_cast:
            # One that has nothing to do is not dispatched.
            if reads[0].dtype != operation.writes[0].dtype:
                self._write(operation.writes, operation.writes[0].dtype)
                yield dataclasses.replace(operation, reads=tuple(reads))
            return
        wanted = self._wanted(operation, reads)
        fed = []
        for tensor in reads:
            if not _is_float(tensor) or wanted is None or tensor.dtype == wanted:
                fed.append(tensor)
                continue
            cast = Tensor(f"{tensor.name} as {_WORDS[wanted]}", tensor.elements, wanted)
            step = Operation(cast.name, "copy", reads=(tensor,), writes=(cast,), why=_WHY)
            yield dataclasses.replace(step, kernel=operation.kernel)
            fed.append(cast)
        result = wanted or _widest([t for t in fed if t.role == "activation"])
        if operation.autocast != "off" and result is not None:
            self._write(operation.writes, result)
        yield dataclasses.replace(
            operation,
            reads=tuple(fed),
            writes=tuple(map(self._now, operation.writes)),
            unit="tensor" if wanted == "model" else operation.unit,
        )
        # The caller's arguments outlive the casts of them.
        yield Keep(tuple(reads))

    def _wanted(self, operation: Operation, reads: list[Tensor]) -> DType | None:
        """Return the dtype that an operation's inputs are cast to, if they are."""
        if operation.autocast == "off":
            return None
        if operation.autocast == "float32":
            return "float32"
        if operation.products:
            return "model"
        joins = operation.category == "copy" and len([t for t in reads if _is_float(t)]) > 1
        return _widest([t for t in reads if _is_float(t)]) if joins else None

    def _write(self, tensors: tuple[Tensor, ...], dtype: DType) -> None:
        self.returned = dtype
        for tensor in tensors:
            if _is_float(tensor) and tensor.role == "activation":
                self.dtypes[tensor.view_of or tensor.name] = dtype


_WORDS: Final[dict[DType, str]] = {"model": "bfloat16", "float32": "float32"}
_WHY: Final = "Autocast casts what an operation does not get in its dtype."


def _returned(layer: BaseLayer, inputs: tuple[DType, ...]) -> DType:
    """Return the dtype of what a layer returns when it is fed with `inputs`."""
    run = _Autocast(inputs)
    collections.deque(run.parts(tuple(layer.forward())), maxlen=0)
    return run.returned


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in ("model", "float32")


def _widest(tensors: list[Tensor]) -> DType | None:
    floats = [t.dtype for t in tensors if _is_float(t)]
    if not floats:
        return None
    return "float32" if "float32" in floats else "model"
