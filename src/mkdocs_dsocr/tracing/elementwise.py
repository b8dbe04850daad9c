"""Counts everything that is no matrix product, by the table of costs, operator by operator.

PyTorch's own counter knows matrix products, convolutions and attention products
alone. This one sees every operator that the model dispatches, gives each the
cost that :mod:`mkdocs_dsocr.layers.costs` states, and remembers the names of
those it does not know.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

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
    return costs.LAYER_NORM * int(out.numel()) + costs.LAYER_NORM_ROW * int(rows)


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
    "mean": _input,
    "sum": _input,
    "topk": _input,
    "softmax": _times(costs.SOFTMAX),
    "sigmoid": _times(costs.SIGMOID),
    "silu": _times(costs.SILU),
    "gelu": _times(costs.GELU),
    "upsample_linear1d": _times(2 * costs.MULTIPLY_ADD),
    "_upsample_bicubic2d_aa": _bicubic,
    "layer_norm": _layer_norm,
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
        "arange",
        "scalar_tensor",
        "embedding",
        "index",
        "index_put_",
        "scatter_",
        "masked_scatter_",
        "argsort",
        "repeat_interleave",
        "_local_scalar_dense",
        "item",
        "fill_",
        "lift_fresh",
        "resolve_conj",
        "resolve_neg",
        "_to_copy",
    )
)
"""Copies, casts, fills, gathers, scatters, sorts, and values that the host asks for."""
PRODUCTS: Final = frozenset(("matmul", "einsum"))
"""Matrix products without a bias: PyTorch's own counter has them."""
FREE: Final = VIEWS | MOVES | PRODUCTS
"""Operators without arithmetic of this kind."""


class ElementwiseCounter(TorchDispatchMode):
    """Sums costs for each module, children included.

    Attributes
    ----------
    flops
        By the names that PyTorch's own counter uses for modules.
    unknown
        Operators that are neither in :data:`COSTS` nor :data:`FREE`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()
        self.unknown: set[str] = set()
        self._modules = ModuleTracker()

    def __enter__(self) -> ElementwiseCounter:
        self._modules.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._modules.__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in COSTS:
            # Attention takes its mask by name.
            mask = (kwargs or {}).get("attn_mask")
            shown = (*args[:3], mask) if mask is not None else args
            cost = COSTS[name](shown, out)
            for module in self._modules.parents:
                self.flops[module] += cost
        elif name not in FREE:
            self.unknown.add(name)
        return out
