"""The registry of PyTorch's operators: FLOPs, bytes, kind and autocast rule, one line each.

PyTorch's own counter knows the FLOPs of matrix products, convolutions and attention only.
The FLOPs in this table are those of everything else, as :mod:`mkdocs_dsocr.layers.costs`
states them. An operator without a line is reported as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.tracing.tensors import distinct_bytes, storage, touched_bytes

Flops = Callable[..., int]
"""FLOPs from an operator's result and its arguments."""
Traffic = Callable[[list[Tensor], list[Tensor]], int]
"""Bytes from the tensors among an operator's inputs and outputs."""
Kind = Literal[
    "arithmetic", "product", "move", "view", "allocation", "composed", "identity", "unknown"
]
CUBIC_SUPPORT: Final = 4
"""Entries per side under a cubic kernel."""


def _no_flops(out: Any, /, *_: Any, **__: Any) -> int:
    return 0


def _per_output(cost: int) -> Flops:
    return lambda out, /, *_, **__: cost * out.numel()


def _per_input(out: Any, x: Tensor, /, *_: Any, **__: Any) -> int:
    return x.numel()


def _bias(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any
) -> int:
    return 0 if bias is None else out.numel()


def _layer_norm(out: Any, x: Tensor, shape: list[int], *_: Any, **__: Any) -> int:
    rows = x.numel() // math.prod(shape)
    return costs.LAYER_NORM * x.numel() + costs.LAYER_NORM_ROW * rows


def _softmax_of_scores(
    out: Tensor, q: Tensor, k: Tensor, v: Any, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> int:
    pairs = math.prod(q.shape[:-1]) * k.shape[-2]
    return (costs.SOFTMAX + (attn_mask is not None)) * pairs


def _bicubic(out: Tensor, x: Tensor, *_: Any, **__: Any) -> int:
    before, after = x.shape[-1], out.shape[-1]
    taps: int = -(-CUBIC_SUPPORT * max(before, after) // after)
    return costs.MULTIPLY_ADD * out.numel() * taps**2


def _grouped_product(
    x: tuple[int, ...], weights: tuple[int, ...], *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Return 2 per multiply-add, from shapes: each row of `x` meets one of the weights."""
    return 2 * x[0] * x[1] * weights[-1]


def _written(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Count the outputs: the inputs only give a type and a device."""
    return sum(touched_bytes(t) for t in outputs)


def _read_and_written(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Read each input once, write each output once."""
    return distinct_bytes(inputs) + _written(inputs, outputs)


def _of_first(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Read the first input; the others only give a shape."""
    return _read_and_written(inputs[:1], outputs)


def _overwritten(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Write the target, which is the first input, without reading it."""
    return _read_and_written(inputs[1:], outputs)


def _gathered(inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Read the chosen entries, not the whole table, which is the first input."""
    return _overwritten(inputs, outputs) + _written(inputs, outputs)


def _scattered(entries: int) -> Traffic:
    """Write as many entries of the target, the first input, as the input `entries` has."""
    return lambda inputs, outputs: (
        distinct_bytes(inputs[1:]) + inputs[entries].numel() * inputs[0].itemsize
    )


@dataclass(frozen=True)
class Operator:
    """What a trace has to know of one operator.

    Attributes
    ----------
    name
        The name without overload, as ``func.overloadpacket.__name__`` gives it.
    kind
        ``arithmetic``; ``product``: PyTorch's own counter has its FLOPs; ``move``: copies, casts,
        fills, gathers, scatters, sorts, and values that the host asks for; ``view``: returns
        memory that it was given, or a copy where it must; ``allocation``: launches no kernel;
        ``composed``: calls others, on every device, which do the work and write the results;
        ``identity``: returns its first input in inference, though what PyTorch decomposes it into
        for its counter is a copy.
    flops
        FLOPs besides matrix products.
    traffic
        Bytes that it reads and writes.
    autocast
        Whether CUDA's autocast runs it in bfloat16, in float32, or in the widest of its inputs.
    product
        FLOPs of a matrix product that some releases of PyTorch's counter do not know.
    """

    name: str
    kind: Kind
    flops: Flops = _no_flops
    traffic: Traffic = _read_and_written
    autocast: Literal["", "bfloat16", "float32", "widest"] = ""
    product: Flops | None = None

    def launches(self, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
        """Tell whether a call runs a kernel.

        A call that returns the memory that it was given does not, unless it writes in place:
        ``reshape``, ``to`` and ``contiguous`` are known by what they return.
        """
        if self.name.endswith("_"):
            return self.kind != "view"
        given = {storage(t) for t in inputs}
        return self.kind != "allocation" and any(storage(t) not in given for t in outputs)


def registry(operators: Iterable[Operator]) -> dict[str, Operator]:
    """Return operators by name.

    Raises
    ------
    ValueError
        If two have the same name.
    """
    result: dict[str, Operator] = {}
    for operator in operators:
        if result.setdefault(operator.name, operator) is not operator:
            raise ValueError(f"operator {operator.name}: registered twice")
    return result


def find_operator(name: str) -> Operator:
    """Return the operator of this name; one without FLOPs, of kind ``unknown``, if not there."""
    return OPERATORS.get(name) or Operator(name, "unknown")


_ONE: Final = _per_output(1)
OPERATORS: Final = registry(
    (
        Operator("add", "arithmetic", _ONE),
        Operator("sub", "arithmetic", _ONE),
        Operator("diff", "arithmetic", _ONE),
        Operator("mul", "arithmetic", _ONE),
        Operator("mul_", "arithmetic", _ONE),
        Operator("div", "arithmetic", _ONE),
        Operator("floor_divide", "arithmetic", _ONE),
        Operator("pow", "arithmetic", _ONE, autocast="float32"),
        Operator("neg", "arithmetic", _ONE),
        Operator("sqrt", "arithmetic", _ONE),
        Operator("rsqrt", "arithmetic", _ONE, autocast="float32"),
        Operator("cos", "arithmetic", _ONE),
        Operator("sin", "arithmetic", _ONE),
        Operator("lt", "arithmetic", _ONE),
        Operator("le", "arithmetic", _ONE),
        Operator("gt", "arithmetic", _ONE),
        Operator("eq", "arithmetic", _ONE),
        Operator("ge", "arithmetic", _ONE),
        Operator("__and__", "arithmetic", _ONE),
        Operator("__or__", "arithmetic", _ONE),
        Operator("bitwise_and", "arithmetic", _ONE),
        Operator("bitwise_or", "arithmetic", _ONE),
        Operator("cumsum", "arithmetic", _ONE),
        Operator("sum", "arithmetic", _per_input),
        Operator("all", "arithmetic", _per_input),
        Operator("any", "arithmetic", _per_input),
        Operator("mean", "arithmetic", _per_input),
        Operator("topk", "arithmetic", _per_input),
        Operator("histc", "arithmetic", _per_input),
        Operator("_is_all_true", "arithmetic", _per_input),
        Operator("_softmax", "arithmetic", _per_output(costs.SOFTMAX), autocast="float32"),
        Operator("softmax", "composed", autocast="float32"),
        Operator("sigmoid", "arithmetic", _per_output(costs.SIGMOID)),
        Operator("silu", "arithmetic", _per_output(costs.SILU)),
        Operator("gelu", "arithmetic", _per_output(costs.GELU)),
        Operator("native_layer_norm", "arithmetic", _layer_norm),
        Operator("upsample_linear1d", "arithmetic", _per_output(2 * costs.MULTIPLY_ADD)),
        Operator("_upsample_bicubic2d_aa", "arithmetic", _bicubic),
        Operator("matmul", "product"),
        Operator("bmm", "product"),
        Operator("_grouped_mm", "product", product=_grouped_product),
        Operator("linear", "product", _bias, autocast="bfloat16"),
        Operator("conv2d", "product", _bias, autocast="bfloat16"),
        Operator(
            "scaled_dot_product_attention", "product", _softmax_of_scores, autocast="bfloat16"
        ),
        Operator("einsum", "composed", autocast="bfloat16"),
        Operator("layer_norm", "composed", autocast="float32"),
        Operator("argsort", "composed"),
        Operator("to", "move"),
        Operator("_to_copy", "move"),
        Operator("contiguous", "move"),
        Operator("clone", "move"),
        Operator("cat", "move", autocast="widest"),
        Operator("pad", "move"),
        Operator("repeat_interleave", "move"),
        Operator("sort", "move"),
        Operator("resolve_conj", "move"),
        Operator("resolve_neg", "move"),
        Operator("arange", "move"),
        Operator("full", "move"),
        Operator("scalar_tensor", "move"),
        Operator("zeros", "move"),
        Operator("new_zeros", "move", traffic=_written),
        Operator("new_ones", "move", traffic=_written),
        Operator("copy_", "move", traffic=_overwritten),
        Operator("fill_", "move", traffic=_overwritten),
        Operator("zero_", "move", traffic=_overwritten),
        Operator("masked_fill_", "move"),
        Operator("embedding", "move", traffic=_gathered),
        Operator("index", "move", traffic=_gathered),
        Operator("index_put_", "move", traffic=_scattered(-1)),
        Operator("scatter_", "move", traffic=_scattered(1)),
        Operator("masked_scatter", "move"),
        Operator("masked_scatter_", "move", traffic=_scattered(-1)),
        Operator("item", "move"),
        Operator("_local_scalar_dense", "move"),
        Operator("empty", "allocation"),
        Operator("empty_like", "allocation"),
        Operator("new_empty", "allocation"),
        Operator("view", "view"),
        Operator("view_as", "view"),
        Operator("reshape", "view"),
        Operator("reshape_as", "view", traffic=_of_first),
        Operator("flatten", "view"),
        Operator("permute", "view"),
        Operator("transpose", "view"),
        Operator("numpy_T", "view"),
        Operator("unsqueeze", "view"),
        Operator("squeeze", "view"),
        Operator("expand", "view"),
        Operator("unbind", "view"),
        Operator("slice", "view"),
        Operator("select", "view"),
        Operator("chunk", "view"),
        Operator("split", "view"),
        Operator("split_with_sizes", "view"),
        Operator("tensor_split", "view"),
        Operator("unsafe_split", "view"),
        Operator("unsafe_chunk", "view"),
        Operator("narrow", "view"),
        Operator("movedim", "view"),
        Operator("swapaxes", "view"),
        Operator("t", "view"),
        Operator("mT", "view"),
        Operator("expand_as", "view"),
        Operator("unflatten", "view"),
        Operator("squeeze_", "view"),
        Operator("unsqueeze_", "view"),
        Operator("as_strided", "view"),
        Operator("diagonal", "view"),
        Operator("unfold", "view"),
        Operator("alias", "view"),
        Operator("detach", "view"),
        Operator("detach_", "view"),
        Operator("dropout", "identity"),
    )
)
FURTHER_PRODUCTS: Final = {
    getattr(torch.ops.aten, name): operator.product
    for name, operator in OPERATORS.items()
    if operator.product and hasattr(torch.ops.aten, name)
}
"""Products for PyTorch's counter, where the installed release has the operator."""
