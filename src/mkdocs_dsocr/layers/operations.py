"""What a layer is made of: tensors, and operations on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from mkdocs_dsocr.layers.formats import FORMATS, Format
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity, is_zero, total

DType = Literal["model", "float32", "int64", "int32", "bool"]
Role = Literal["activation", "weight", "buffer", "kv_cache"]
Unit = Literal["tensor", "cuda"]
Pattern = Literal[
    "contiguous", "per element", "strided", "reduction", "product", "direct", "attention"
]
"""How a kernel works, which decides what it takes besides its bytes.

``contiguous``: operands of one shape, in one order. ``per element``: an address for every element
(broadcast operands, other orders, indexing, casts to wider types). ``strided``: neighbouring
threads read distant addresses, and each access moves a whole sector. ``reduction``: rows become
single values, or are sorted. ``product``: matrix products on tensor cores. ``direct``: matrix
products and convolutions on CUDA cores. ``attention``: fused attention.
"""

BYTES_PER_ELEMENT: Final[dict[DType, int]] = {
    "model": 2,
    "float32": 4,
    "int64": 8,
    "int32": 4,
    "bool": 1,
}
"""Storage of one element; ``model`` is the checkpoint's own dtype, bfloat16."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that an operation reads or writes.

    Attributes
    ----------
    name
        Identity within the layer: the same name is the same storage, or a part of it.
    elements
        How many elements the operation touches, not how many there are:
        a gather touches the rows that it picks.
    dtype, role
        What one element is, and what the tensor is to the model.
    at_least
        How many different elements it touches whatever the values are, where
        these decide: a gather may pick the same row again and again.
    view_of
        The tensor whose storage it is a part of, where it has none of its own.
    columns
        Width of its rows, where it is a matrix that may be quantised.
    format
        How it is stored, where that is not what its dtype says.
    """

    name: str
    elements: Quantity
    dtype: DType = "model"
    role: Role = "activation"
    at_least: Quantity | None = None
    view_of: str = ""
    columns: Quantity | None = None
    format: Format | None = None

    @cached_property
    def bytes(self) -> Quantity:
        return self._bytes(self.elements)

    @property
    def least_bytes(self) -> Quantity:
        return self._bytes(self.elements if self.at_least is None else self.at_least)

    def _bytes(self, elements: Quantity) -> Quantity:
        if self.format is not None:
            return self.format.bytes(elements, self.columns)
        return BYTES_PER_ELEMENT[self.dtype] * elements


@dataclass(frozen=True)
class Operation:
    """One kernel of an eager run: a non-view ATen call, an SDPA call being one.

    Attributes
    ----------
    name
        What is computed, as a reader would write it.
    category
        A key of :data:`mkdocs_dsocr.layers.categories.CATEGORIES`.
    products
        Matrix products, convolutions and attention products: what PyTorch's
        ``FlopCounterMode`` counts.
    elementwise_flops
        Everything else, by the table in :mod:`mkdocs_dsocr.layers.costs`.
    unit
        Where the matrix product runs: tensor cores, or CUDA cores (float32).
    reads, writes
        The tensors touched, each storage once.
    kernel
        The fused kernel it belongs to; alone in one where this is empty.
    causal_matmul_flops
        The part of the products' FLOPs that a causal mask leaves, where there is one.
    skips_masked
        Whether its kernel leaves out what a causal mask forbids: it does where it knows that the
        mask is causal, and not where the mask is a tensor.
    host_syncs
        How often the host waits for a value.
    in_place
        What a fused kernel reads and writes instead, where it works in place.
    launches
        How often it is dispatched.
    autocast
        What ``torch.autocast`` does: ``float32`` casts its inputs up, ``off`` leaves it alone;
        otherwise products run in bfloat16 and everything else in the widest of its inputs.
    saved_for_backward
        Tensors kept for the backward; of products, all activations that they read.
    recomputes
        Whether its backward computes its first product again instead of keeping it.
    compute_dtype
        Format at whose peak its products run on tensor cores.
    pattern
        How its threads walk the tensors, where that is not plain.
    num_kernels
        Kernels that one dispatch of it launches.
    rearranges
        Whether it first copies its first input, whose elements lie in another order, by a kernel
        of its own.
    why
        The choice behind the formula, where one was made.
    id
        Its identity in reviews, which never changes: the first `name` that it had. Set it when
        you change the name; an empty id is the name.
    """

    name: str
    category: str
    products: tuple[Product, ...] = ()
    elementwise_flops: Quantity = 0
    unit: Unit = "cuda"
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    kernel: str = ""
    in_place: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = None
    causal_matmul_flops: Quantity | None = None
    skips_masked: bool = True
    host_syncs: Quantity = 0
    launches: Quantity = 1
    autocast: Literal["", "float32", "off"] = ""
    saved_for_backward: tuple[Tensor, ...] = ()
    recomputes: bool = False
    compute_dtype: str = "bf16"
    pattern: Pattern = "contiguous"
    num_kernels: Quantity = 1
    rearranges: bool = False
    why: str = ""
    id: str = ""

    @property
    def stable_id(self) -> str:
        """Its identity in reviews."""
        return self.id or self.name

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """Tensors kept for the backward."""
        if self.saved_for_backward or not any(p.gradients for p in self.products):
            return self.saved_for_backward
        return self.reads

    @cached_property
    def is_cast(self) -> bool:
        """Whether it only turns one tensor into another dtype."""
        one = len(self.reads) == len(self.writes) == 1 and is_zero(self.elementwise_flops)
        return one and not self.products and self.reads[0].dtype != self.writes[0].dtype

    @cached_property
    def runs_as(self) -> Pattern:
        """How its kernel works: of products and casts this follows from what they are."""
        if self.products:
            if self.pattern in ("attention", "direct"):
                return self.pattern
            return "product" if self.unit == "tensor" else "direct"
        if self.is_cast:
            read, write = self.reads[0], self.writes[0]
            widens = BYTES_PER_ELEMENT[write.dtype] > BYTES_PER_ELEMENT[read.dtype]
            return "per element" if widens else "contiguous"
        return self.pattern

    @cached_property
    def matmul_flops(self) -> Quantity:
        return total(p.flops for p in self.products)

    @property
    def padded_tensor_core_flops(self) -> Quantity:
        """What tensor cores do with every product padded to whole tiles."""
        if self.unit != "tensor":
            return 0
        return whole(total(p.padded_flops(FORMATS[self.compute_dtype].bits) for p in self.products))

    @property
    def on_tensor_cores(self) -> bool:
        """Whether it has products that run there."""
        return bool(self.products) and self.unit == "tensor"

    @cached_property
    def tensor_core_flops(self) -> Quantity:
        return self.matmul_flops if self.unit == "tensor" else 0

    @property
    def least_tensor_core_flops(self) -> Quantity:
        """What cannot be left out on tensor cores: masked pairs can."""
        flops = self.matmul_flops if self.causal_matmul_flops is None else self.causal_matmul_flops
        return flops if self.unit == "tensor" else 0

    @cached_property
    def cuda_core_flops(self) -> Quantity:
        if self.unit == "tensor":
            return self.elementwise_flops
        return total((self.matmul_flops, self.elementwise_flops))

    @cached_property
    def eager_bytes(self) -> Quantity:
        """Bytes that it touches when it runs alone: inputs once, outputs once."""
        return whole(bytes_of((*self.reads, *self.writes)))


@dataclass(frozen=True)
class Keep:
    """The code still holds these tensors here, though nothing reads them any more."""

    tensors: tuple[Tensor, ...]


def keep(*tensors: Tensor) -> Keep:
    """Return the point up to which `tensors` stay in memory."""
    return Keep(tensors)


def whole(quantity: Quantity) -> Quantity:
    """Round an expectation half-even; leave integers and expressions alone."""
    if isinstance(quantity, float):
        return round(quantity)
    if getattr(getattr(quantity, "dtype", None), "kind", "") == "f":
        return quantity.round()  # type: ignore[union-attr,no-any-return]
    return quantity


def bytes_of(tensors: Iterable[Tensor]) -> Quantity:
    """Return the bytes of tensors together."""
    return total(t.bytes for t in tensors)


def elementwise(
    name: str,
    flops: Quantity,
    reads: tuple[Tensor, ...],
    *writes: Tensor,
    category: str,
    kernel: str = "",
    saved_for_backward: tuple[Tensor, ...] = (),
    autocast: Literal["", "float32", "off"] = "",
    host_syncs: Quantity = 0,
    launches: Quantity = 1,
    pattern: Pattern = "contiguous",
    num_kernels: Quantity = 1,
    why: str = "",
) -> Operation:
    """Return an operation without matrix products: arithmetic, a copy, a gather or a scatter.

    A layer whose steps share a category and a kernel takes it with :func:`functools.partial`.

    Parameters
    ----------
    name
        What is computed.
    flops
        FLOPs, by the table of costs; 0 if it only moves data.
    reads, writes
        The tensors touched.
    category, kernel, saved_for_backward, autocast, host_syncs, launches
        As in :class:`Operation`.
    pattern, num_kernels, why
        As in :class:`Operation`.
    """
    return Operation(
        name,
        category,
        elementwise_flops=flops,
        reads=reads,
        writes=writes,
        kernel=kernel,
        saved_for_backward=saved_for_backward,
        autocast=autocast,
        host_syncs=host_syncs,
        launches=launches,
        pattern=pattern,
        num_kernels=num_kernels,
        why=why,
    )


def residual(
    x: Tensor, branch: Tensor, y: Tensor, name: str, pattern: Pattern = "contiguous"
) -> Operation:
    """Return the addition of a branch to its residual stream."""
    return elementwise(name, y.elements, (x, branch), y, category="residual", pattern=pattern)


def copy(name: str, source: Tensor, target: Tensor, why: str = "", kernel: str = "") -> Operation:
    """Return a copy of a tensor to another order, or its cast to another dtype."""
    return elementwise(
        name,
        0,
        (source,),
        target,
        category="copy",
        kernel=kernel,
        pattern="per element",
        why=why,
    )
