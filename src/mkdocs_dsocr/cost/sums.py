"""Integers as sums of products, so that equal ones are found and computed once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

Sum: TypeAlias = Mapping[tuple[str, ...], int]
"""The factor of each product.

A product is the sorted names of its variables, none of which is negative; ``()`` stands for 1.
"""


def combined(operator: str, a: Sum, b: Sum) -> Sum | None:
    """Return the sum that an operator makes of two; None where it makes none."""
    if operator in ("add", "sub"):
        return _added(a, b, 1 if operator == "add" else -1)
    if operator == "mul":
        return _multiplied(a, b)
    if operator in ("exact_div", "ceil_div") and b.keys() == {()}:
        return _divided(a, b[()])
    return _larger(a, b) if operator == "maximum" else None


def common_factor(a: Sum) -> tuple[int, Sum]:
    """Return the largest number that divides all factors, and the rest."""
    factor = math.gcd(*a.values())
    return factor, {product: number // factor for product, number in a.items()}


def _added(a: Sum, b: Sum, times: int = 1) -> Sum:
    """Return one sum and a multiple of another."""
    result = dict(a)
    for product, factor in b.items():
        result[product] = result.get(product, 0) + times * factor
    return {product: factor for product, factor in result.items() if factor}


def _multiplied(a: Sum, b: Sum) -> Sum | None:
    """Return a product of two sums where one of them is a number, or both have one term."""
    if a.keys() <= {()}:
        return _added({}, b, a.get((), 0))
    if b.keys() <= {()}:
        return _added({}, a, b.get((), 0))
    if len(a) > 1 or len(b) > 1:
        return None
    [(x, first)], [(y, second)] = a.items(), b.items()
    return {tuple(sorted((*x, *y))): first * second}


def _divided(a: Sum, number: int) -> Sum | None:
    """Return a sum divided by a number that divides all its factors."""
    if any(factor % number for factor in a.values()):
        return None
    return {product: factor // number for product, factor in a.items()}


def _larger(a: Sum, b: Sum) -> Sum | None:
    """Return the sum that is never below the other, where there is one."""
    differences = _added(a, b, -1).values()
    if all(factor > 0 for factor in differences):
        return a
    return b if all(factor < 0 for factor in differences) else None
