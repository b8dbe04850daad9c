"""The table of costs for operators: what each does beside its matrix products.

PyTorch's own counter knows matrix products, convolutions and attention products
alone; everything else costs what :mod:`mkdocs_dsocr.layers.costs` states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from mkdocs_dsocr.layers import costs

Cost: TypeAlias = Callable[[tuple[Any, ...], Any], int]
CUBIC_SUPPORT: Final = 4
"""Entries a side under a cubic kernel."""


def _output(args: tuple[Any, ...], out: Any) -> int:
    return int(out.numel())


def _input(args: tuple[Any, ...], out: Any) -> int:
    return int(args[0].numel())


def _times(cost: int) -> Cost:
    return lambda args, out: cost * int(out.numel())


def _bias(args: tuple[Any, ...], out: Any) -> int:
    return int(out.numel()) if len(args) > 2 and args[2] is not None else 0


def _layer_norm(args: tuple[Any, ...], out: Any) -> int:
    rows = int(args[0].numel()) // math.prod(args[1])
    return costs.LAYER_NORM * int(args[0].numel()) + costs.LAYER_NORM_ROW * int(rows)


def _attention(args: tuple[Any, ...], out: Any) -> int:
    query, key = args[0], args[1]
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    masked = len(args) > 3 and args[3] is not None
    return (costs.SOFTMAX + masked) * int(pairs)


def _bicubic(args: tuple[Any, ...], out: Any) -> int:
    before, after = args[0].shape[-1], out.shape[-1]
    taps = -(-CUBIC_SUPPORT * max(before, after) // after)
    return costs.MULTIPLY_ADD * int(out.numel()) * int(taps) ** 2


COSTS: Final[dict[str, Cost]] = {
    **dict.fromkeys(
        ("add", "sub", "mul", "mul_", "div", "pow", "neg", "sqrt", "rsqrt", "cos", "sin"), _output
    ),
    "floor_divide": _output,
    **dict.fromkeys(("lt", "le", "gt", "eq", "bitwise_and", "bitwise_or", "cumsum"), _output),
    **dict.fromkeys(("histc", "_is_all_true"), _input),
    "mean": _input,
    "sum": _input,
    "topk": _input,
    "softmax": _times(costs.SOFTMAX),
    "sigmoid": _times(costs.SIGMOID),
    "silu": _times(costs.SILU),
    "gelu": _times(costs.GELU),
    "upsample_linear1d": _times(2 * costs.MULTIPLY_ADD),
    "_upsample_bicubic2d_aa": _bicubic,
    "native_layer_norm": _layer_norm,
    "linear": _bias,
    "conv2d": _bias,
    "scaled_dot_product_attention": _attention,
}
"""What each operator costs beside its matrix products, from its arguments and its result."""

VIEWS: Final = frozenset(
    (
        "view",
        "reshape",
        "permute",
        "transpose",
        "numpy_T",
        "unsqueeze",
        "squeeze",
        "expand",
        "flatten",
        "unbind",
        "slice",
        "select",
        "chunk",
        "split_with_sizes",
        "view_as",
        "alias",
        "detach",
        "detach_",
        "dropout",
    )
)
MOVES: Final = frozenset(
    (
        "to",
        "contiguous",
        "clone",
        "copy_",
        "cat",
        "pad",
        "zeros",
        "empty_like",
        "new_zeros",
        "new_ones",
        "arange",
        "embedding",
        "index",
        "index_put_",
        "scatter_",
        "masked_scatter",
        "masked_scatter_",
        "sort",
        "repeat_interleave",
        "_local_scalar_dense",
        "item",
        "fill_",
        "full",
        "masked_fill_",
        "resolve_conj",
        "resolve_neg",
        "_to_copy",
    )
)
"""Copies, casts, fills, gathers, scatters, sorts, and values that the host asks for."""
PRODUCTS: Final = frozenset(("matmul", "bmm", "_grouped_mm"))
"""Matrix products without a bias: PyTorch's own counter has them."""
FREE: Final = VIEWS | MOVES | PRODUCTS
"""Operators without arithmetic of this kind."""
