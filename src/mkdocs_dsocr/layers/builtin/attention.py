"""torch.nn.functional.scaled_dot_product_attention, as one operation."""

from __future__ import annotations

from mkdocs_dsocr.layers import costs
from mkdocs_dsocr.layers.operations import Operation, Tensor
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.quantities import Quantity, less, ratio, select


def dot_product_attention(
    name: str,
    sizes: tuple[Quantity, Quantity, Quantity],
    groups: Quantity,
    reads: tuple[Tensor, ...],
    write: Tensor,
    *,
    flops_per_pair: int = costs.SOFTMAX,
    causal_pairs: Quantity | None = None,
    mask: tuple[Tensor, ...] = (),
    kernel: str = "",
    why: str = "",
) -> Operation:
    """Return Q Kᵀ, softmax and P V as one kernel that keeps the scores on chip.

    Parameters
    ----------
    name, reads, write, kernel, why
        As for :func:`elementwise`. The queries come first in `reads`.
    sizes
        Queries of all heads and samples, keys that each of them meets, and width of a head.
    groups
        Heads of all samples.
    flops_per_pair
        Elementwise FLOPs for each pair of a query and a key.
    causal_pairs
        Pairs that a causal mask leaves; None without a mask.
    mask
        The mask, where it is a tensor: the kernel computes all pairs.
    """
    queries, keys, head_dim = sizes
    log_sum_exp = Tensor("log-sum-exp", queries, "float32")
    return Operation(
        name,
        "attention",
        products=(
            Product(queries, head_dim, keys, groups),
            Product(queries, keys, head_dim, groups),
        ),
        causal_matmul_flops=None if causal_pairs is None else 4 * causal_pairs * head_dim,
        elementwise_flops=flops_per_pair * (queries * keys),
        skips_masked=not mask,
        unit="tensor",
        reads=(*reads, *mask),
        writes=(write,),
        saved_for_backward=(*reads, *mask, write, log_sum_exp),
        recomputes=True,
        kernel=kernel,
        pattern="attention",
        # One query per head: the keys are split over blocks, whose results a second kernel joins.
        num_kernels=select(less(1, ratio(queries, groups)), 1, 2),
        why=why,
    )
