"""Sums with equal terms added up and common factors in front, for display.

A layer's code writes a sum term by term. Readers want ``2·N·h·(E + 3·k·m + 3·s·m)``. The collected
form is equal to the code's for all values of the symbols.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from mkdocs_dsocr.quantities import Apply, Expr, Number, Quantity, Symbol, product, total

Term = tuple[int, "Counter[Expr]"]
"""An integer factor, and how often each other factor occurs."""


def terms(quantity: Quantity) -> list[Quantity]:
    """Return the terms of a sum, in the order in which they were written."""
    if isinstance(quantity, Apply) and quantity.operator == "add":
        return [term for argument in quantity.arguments for term in terms(argument)]
    return [quantity]


def collected(quantity: Quantity) -> Quantity:
    """Return a sum with equal terms added up and the factors of all terms in front."""
    sums: dict[frozenset[tuple[Expr, int]], Term] = {}
    for number, factors in _flat(quantity):
        key = frozenset(factors.items())
        sums[key] = (sums[key][0] + number if key in sums else number, factors)
    found = [term for term in sums.values() if term[0]]
    if len(found) < 2:
        return total(map(_written, found))
    shared = found[0][1]
    for _, factors in found[1:]:
        shared = shared & factors
    if not shared:
        return _sum(found)
    number = math.gcd(*(n for n, _ in found))
    inside = [(n // number, factors - shared) for n, factors in found]
    # A sum that was one factor may be one of several terms now.
    rest = collected(_sum(inside))
    outside = _written((number, shared)) * rest
    return outside if len(terms(rest)) > 1 else collected(outside)


def _flat(quantity: Quantity) -> list[Term]:
    """Return the terms of a sum as products; a sum inside a product is one factor."""
    if isinstance(quantity, int):
        return [(quantity, Counter())]
    if isinstance(quantity, Number) and isinstance(quantity.value, int):
        return [(quantity.value, Counter())]
    if isinstance(quantity, Apply):
        return _flat_operator(quantity)
    return [(1, Counter([quantity]))]  # type: ignore[list-item]


def _flat_operator(quantity: Apply) -> list[Term]:
    if quantity.operator == "add":
        return [term for argument in quantity.arguments for term in _flat(argument)]
    if quantity.operator == "sub":
        first, second = map(_flat, quantity.arguments)
        return first + [(-number, factors) for number, factors in second]
    if quantity.operator == "mul":
        first, second = map(_flat, quantity.arguments)
        if len(first) == len(second) == 1 or _is_number(first) or _is_number(second):
            return [(a * b, _joined(x, y)) for a, x in first for b, y in second]
        return [_as_factor(first, quantity.arguments[0], second, quantity.arguments[1])]
    if quantity.operator == "pow" and isinstance(quantity.arguments[1], Number):
        base, power = quantity.arguments[0], quantity.arguments[1].value
        if isinstance(base, Symbol) and isinstance(power, int) and power > 0:
            return [(1, Counter({base: power}))]
    return [(1, Counter([quantity]))]


def _as_factor(first: list[Term], a: Expr, second: list[Term], b: Expr) -> Term:
    """Return a product in which a sum of several terms is one factor."""
    number, factors = first[0] if len(first) == 1 else (1, Counter([a]))
    other, more = second[0] if len(second) == 1 else (1, Counter([b]))
    return number * other, _joined(factors, more)


def _joined(a: Counter[Expr], b: Counter[Expr]) -> Counter[Expr]:
    return Counter({factor: a[factor] + b[factor] for factor in (*a, *b)})


def _is_number(found: list[Term]) -> bool:
    return len(found) == 1 and not found[0][1]


def _written(term: Term) -> Quantity:
    number, factors = term
    powers = [factor**n if n > 1 else factor for factor, n in factors.items()]
    return product([*([number] if number != 1 or not powers else []), *powers])


def _sum(found: Iterable[Term]) -> Quantity:
    """Return a sum, terms that are subtracted last."""
    result: Quantity = 0
    for number, factors in sorted(found, key=lambda term: term[0] < 0):
        if isinstance(result, int) and result == 0:
            result = _written((number, factors))
        elif number < 0:
            result = result - _written((-number, factors))
        else:
            result = result + _written((number, factors))
    return result
