"""What ``torch.autocast("cuda", torch.bfloat16)`` makes of the steps of a forward."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

from mkdocs_dsocr.layers.layer import Child, Layer, Step
from mkdocs_dsocr.layers.operations import DType, Keep, Operation, Tensor


@dataclass
class Autocast:
    """Follows dtypes through a forward as ``torch.autocast("cuda", torch.bfloat16)`` sets them.

    Products run in bfloat16, norms, powers and softmax in float32, everything
    else in the widest of its inputs; what an operation does not get in its
    dtype is cast first, by an operation of its own.
    """

    inputs: tuple[DType, ...]
    dtypes: dict[str, DType] = field(default_factory=dict)
    returned: DType = "model"

    def steps(self, steps: tuple[Step, ...]) -> Iterator[Step]:
        """Yield the steps with their casts, and each child with the dtypes of its inputs."""
        rest, last = list(self.inputs), self.inputs
        for step in steps:
            if isinstance(step, Keep):
                yield Keep(tuple(map(self._now, step.tensors)))
                continue
            self._meet_inputs(step, rest)
            if isinstance(step, Operation):
                yield from self._operation(step)
            else:
                last = yield from self._child(step, last)

    def _meet_inputs(self, step: Operation | Child, rest: list[DType]) -> None:
        for tensor in step.reads:
            key = tensor.view_of or tensor.name
            if tensor.role == "activation" and key not in self.dtypes:
                self.dtypes[key] = rest.pop(0) if rest else tensor.dtype
        for tensor in step.writes:
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


def _returned(layer: Layer, inputs: tuple[DType, ...]) -> DType:
    """Return the dtype of what a layer returns when it is fed with `inputs`."""
    run = Autocast(inputs)
    collections.deque(run.steps(tuple(layer.forward())), maxlen=0)
    return run.returned


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in ("model", "float32")


def _widest(tensors: list[Tensor]) -> DType | None:
    floats = [t.dtype for t in tensors if _is_float(t)]
    if not floats:
        return None
    return "float32" if "float32" in floats else "model"
