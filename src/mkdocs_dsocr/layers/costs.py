"""What elementwise work costs on CUDA cores: the one table behind every such formula.

A unit is one arithmetic operation or comparison; division, square root,
exponential, error function, sine and cosine count 1 as well. A reduction costs
1 for each element it reads. Copies, casts and gathers cost 0: they move bytes.
"""

from __future__ import annotations

from typing import Final

MEAN: Final = 1
"""Per element read: n - 1 additions and one division for a row of n."""
SOFTMAX: Final = 5
"""Per score: maximum, subtract, exp, sum, divide."""
SIGMOID: Final = 4
"""Per element, 1 / (1 + exp(-x)): negate, exp, add, divide."""
SILU: Final = 4
"""Per element, x / (1 + exp(-x)): negate, exp, add, divide."""
GELU: Final = 5
"""Per element, 0.5 x (1 + erf(x / sqrt 2)): divide, erf, add and two multiplications."""
LAYER_NORM: Final = 7
"""Per element: mean, subtract, square, mean of squares, times 1/std, times weight, plus bias."""
LAYER_NORM_ROW: Final = 2
"""Per row: plus eps, reciprocal square root."""
MULTIPLY_ADD: Final = 2
"""One multiplication and one addition."""

TABLE: Final[tuple[tuple[str, int, str], ...]] = (
    ("add, subtract, multiply, compare", 1, "each element"),
    ("divide, sqrt, rsqrt, exp, erf, sin, cos", 1, "each element"),
    ("sum, maximum, mean", MEAN, "each element read: n − 1 additions and, for a mean, a division"),
    ("softmax", SOFTMAX, "maximum, subtract, exp, sum, divide"),
    ("sigmoid", SIGMOID, "negate, exp, add, divide"),
    ("SiLU", SILU, "negate, exp, add, divide (x / (1 + exp(−x)))"),
    ("GELU (exact)", GELU, "divide, erf, add, two multiplications"),
    (
        "LayerNorm",
        LAYER_NORM,
        "mean, subtract, square, mean of squares, × 1/std, × weight, + bias; "
        f"and {LAYER_NORM_ROW} a row (+ eps, rsqrt)",
    ),
    ("copy, cast, gather, scatter, sort", 0, "bytes only; sorting integers is no arithmetic"),
)
"""The same table for readers: work, FLOPs per element, how the figure comes about."""
