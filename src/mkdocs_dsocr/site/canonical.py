"""Formulas in a form that does not depend on how they are written.

A formula is expanded to a sum of products with sorted factors. What is no polynomial (⌈a / b⌉,
max, a quotient) is a factor of its own, with its arguments in the same form. Two formulas with
the same canonical text are equal for all values of their symbols.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from mkdocs_dsocr.quantities import OPERATORS, Apply, Expr, Number, Quantity, Symbol

Monomial: TypeAlias = tuple[tuple[str, int], ...]
Polynomial: TypeAlias = dict[Monomial, Fraction]

MOST_TERMS: Final = 4_096
"""Limit of terms that are multiplied at once; a text that exceeds it is compared as it is."""
LARGEST_POWER: Final = 16
MOST_BITS: Final = 4_096
"""Limit of a factor that is raised to a power: powers of powers would have any number of digits."""
SYNTAX: Final = (("·", "*"), ("−", "-"), ("^", "**"), ("⌈", "ceil("), ("⌉", ")"), (" = ", " == "))
"""How formulas as text differ from Python's expressions."""


def canonical(quantity: Quantity) -> str:
    """Return the canonical text of a formula."""
    return _text(_polynomial(quantity))


@lru_cache(maxsize=1 << 14)
def canonical_text(formula: str) -> str:
    """Return the canonical text of a formula as :func:`mkdocs_dsocr.site.notation.text` writes it.

    A text that is no formula is returned as it is.
    """
    code = formula
    for written, python in SYNTAX:
        code = code.replace(written, python)
    try:
        return canonical(_parsed(ast.parse(code, mode="eval").body))
    except (SyntaxError, ValueError, KeyError, RecursionError, MemoryError):
        return formula


BINARY: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Pow: "pow",
    ast.Div: "ratio",
}


def _parsed(node: ast.expr) -> Expr:
    """Return the formula of a syntax tree."""
    match node:
        case ast.Name(id=name):
            return Symbol(name)
        case ast.Constant(value=int() | float() as value):
            return Number(value)
        case _:
            name, arguments = _operator(node)
            return Apply(name, tuple(_parsed(a) for a in arguments))


def _operator(node: ast.expr) -> tuple[str, tuple[ast.expr, ...]]:
    """Return an operator of the algebra and its arguments."""
    match node:
        case ast.BinOp(left=a, op=op, right=b):
            found = BINARY[type(op)], (a, b)
        case ast.Call(func=ast.Name(id="ceil"), args=[ast.BinOp(left=a, op=ast.Div(), right=b)]):
            found = "ceil_div", (a, b)
        case ast.Call(func=ast.Name(id="max"), args=[a, b]):
            found = "maximum", (a, b)
        case ast.List(elts=[ast.Compare(left=a, ops=[ast.Lt()], comparators=[b])]):
            found = "less", (a, b)
        case ast.List(elts=[ast.Compare(left=a, ops=[ast.Eq()], comparators=[b])]):
            found = "equal", (a, b)
        case _:
            raise ValueError(ast.dump(node))
    return found


def _polynomial(quantity: Any) -> Polynomial:
    if isinstance(quantity, Symbol):
        return {((quantity.name, 1),): Fraction(1)}
    if not isinstance(quantity, Apply):
        value = Fraction(quantity.value if isinstance(quantity, Number) else quantity)
        return {(): value} if value else {}
    arguments = [_polynomial(a) for a in quantity.arguments]
    return _applied(quantity.operator, arguments)


def _applied(name: str, arguments: list[Polynomial]) -> Polynomial:
    first, second = arguments[0], arguments[1]
    constant = second.get((), Fraction(0)) if second.keys() <= {()} else None
    if name == "add":
        return _sum(first, second)
    if name == "sub":
        return _sum(first, _product(second, {(): Fraction(-1)}))
    if name == "mul":
        return _product(first, second)
    if name == "pow" and constant in range(LARGEST_POWER + 1):
        result: Polynomial = {(): Fraction(1)}
        for _ in range(int(constant or 0)):
            result = _product(result, first)
            if any(_bits(factor) > MOST_BITS for factor in result.values()):
                raise ValueError("too large a number")
        return result
    if name in ("exact_div", "ratio"):
        if constant:
            return _product(first, {(): 1 / constant})
        name = "ratio"
    if name not in OPERATORS:
        raise ValueError(name)
    texts = [_text(a) for a in arguments]
    ordered = sorted(texts) if name in ("maximum", "equal") else texts
    return {((f"{name}({', '.join(ordered)})", 1),): Fraction(1)}


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return _collected([*a.items(), *b.items()])


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > MOST_TERMS:
        raise ValueError("too many terms")
    return _collected(
        (_joined(left, right), factor * other)
        for left, factor in a.items()
        for right, other in b.items()
    )


def _bits(factor: Fraction) -> int:
    return max(factor.numerator.bit_length(), factor.denominator.bit_length())


def _joined(left: Monomial, right: Monomial) -> Monomial:
    powers = Counter(dict(left))
    powers.update(dict(right))
    return tuple(sorted(powers.items()))


def _collected(terms: Iterable[tuple[Monomial, Fraction]]) -> Polynomial:
    """Return the sum of terms, without those that cancel out."""
    result: Polynomial = {}
    for monomial, factor in terms:
        result[monomial] = result.get(monomial, Fraction(0)) + factor
    return {monomial: factor for monomial, factor in result.items() if factor}


def _text(polynomial: Polynomial) -> str:
    terms = (
        "·".join([str(factor), *(f"{atom}^{power}" for atom, power in monomial)])
        for monomial, factor in sorted(polynomial.items())
    )
    return " + ".join(terms) or "0"
