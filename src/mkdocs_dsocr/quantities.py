"""The algebra of formulas: plain Python arithmetic that is read several ways.

A formula is written once, with ``+``, ``-``, ``*``, ``**`` and the functions
below. Given ``int`` dimensions it is an exact integer, given NumPy arrays a
sweep, given :class:`Symbol` dimensions an expression tree that keeps the form
in which the author wrote it: nothing is reordered, collected or simplified.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

__all__ = [
    "BITS_PER_BYTE",
    "GIGABYTE",
    "OPERATORS",
    "TERABIT",
    "TFLOP",
    "Apply",
    "Expr",
    "Number",
    "Quantity",
    "Symbol",
    "apply",
    "arithmetic_series",
    "ceil_div",
    "equal",
    "evaluate",
    "exact_div",
    "is_zero",
    "largest",
    "less",
    "maximum",
    "minimum",
    "product",
    "ratio",
    "select",
    "symbols",
    "total",
]

TFLOP: Final = 10**12
TERABIT: Final = 10**12
GIGABYTE: Final = 10**9
BITS_PER_BYTE: Final = 8


class Expr:
    """A symbolic quantity. Arithmetic on it builds a larger one."""

    __slots__ = ()

    def __add__(self, other: Quantity) -> Expr:
        return apply("add", self, other)

    def __radd__(self, other: Quantity) -> Expr:
        return apply("add", other, self)

    def __sub__(self, other: Quantity) -> Expr:
        return apply("sub", self, other)

    def __rsub__(self, other: Quantity) -> Expr:
        return apply("sub", other, self)

    def __mul__(self, other: Quantity) -> Expr:
        return apply("mul", self, other)

    def __rmul__(self, other: Quantity) -> Expr:
        return apply("mul", other, self)

    def __pow__(self, other: Quantity) -> Expr:
        return apply("pow", self, other)

    def __rpow__(self, other: Quantity) -> Expr:
        return apply("pow", other, self)


class Number(Expr):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, value: int | float | Fraction) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        # 2 and 2.0 are not the same literal.
        return (
            isinstance(other, Number)
            and self.value == other.value
            and type(self.value) is type(other.value)
        )

    def __hash__(self) -> int:
        return hash(self.value)


class Symbol(Expr):
    """A named dimension, such as ``N`` or ``d_in``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class Apply(Expr):
    """An operator (a key of :data:`OPERATORS`) and what it is applied to."""

    __slots__ = ("_hash", "arguments", "operator")

    def __init__(self, operator: str, arguments: tuple[Expr, ...]) -> None:
        self.operator, self.arguments = operator, arguments
        # Kept, as the hash of a tree would walk all of it each time.
        self._hash = hash((operator, arguments))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Apply)
            and self._hash == other._hash
            and self.operator == other.operator
            and self.arguments == other.arguments
        )

    def __hash__(self) -> int:
        return self._hash


Quantity: TypeAlias = int | float | Fraction | Expr


@lru_cache(maxsize=1 << 18)
def _interned(name: str, arguments: tuple[Expr, ...]) -> Apply:
    """Return an expression: the same object for the same one, so that no walk meets it twice."""
    return Apply(name, arguments)


_literal = lru_cache(maxsize=1 << 12, typed=True)(Number)


def apply(name: str, *arguments: Quantity) -> Expr:
    """Return an operator applied to quantities, of which at least one is symbolic."""
    return _interned(name, tuple([a if isinstance(a, Expr) else _literal(a) for a in arguments]))


def _is_symbolic(*arguments: object) -> bool:
    return any(isinstance(argument, Expr) for argument in arguments)


def ceil_div(a: Quantity, b: Quantity) -> Any:
    """Return ``⌈a / b⌉`` without leaving the integers."""
    return apply("ceil_div", a, b) if _is_symbolic(a, b) else -(-a // b)  # type: ignore[operator]


def exact_div(a: Quantity, b: Quantity) -> Any:
    """Return ``a / b`` where it is a whole number; an expectation or a mean may be none.

    Raises
    ------
    ValueError
        If `b` does not divide `a`.
    """
    if _is_symbolic(a, b):
        return apply("exact_div", a, b)
    if isinstance(a, float | Fraction) or getattr(getattr(a, "dtype", None), "kind", "") == "f":
        return a / b  # type: ignore[operator]
    whole: Any = a // b  # type: ignore[operator]
    different: Any = whole * b != a
    if different if isinstance(different, bool) else different.any():
        raise ValueError(f"{b} does not divide {a}")
    return whole


def ratio(a: Quantity, b: Quantity) -> Any:
    """Return ``a / b`` as a float: for expectations and intensities, never for FLOPs."""
    return apply("ratio", a, b) if _is_symbolic(a, b) else a / b  # type: ignore[operator]


def maximum(a: Quantity, b: Quantity) -> Any:
    """Return the larger of two quantities (elementwise for arrays)."""
    if _is_symbolic(a, b):
        return apply("maximum", a, b)
    if hasattr(a, "shape") or hasattr(b, "shape"):
        import numpy

        return numpy.maximum(a, b)  # type: ignore[arg-type]
    return max(a, b)  # type: ignore[type-var]


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of two quantities (elementwise for arrays)."""
    return select(less(b, a), b, a)


def less(a: Quantity, b: Quantity) -> Any:
    """Return 1 where `a` is below `b`, else 0. ``*`` joins conditions, :func:`maximum` either."""
    if isinstance(a, Symbol) and a == b:
        return 0
    return apply("less", a, b) if _is_symbolic(a, b) else (a < b) * 1  # type: ignore[operator]


def equal(a: Quantity, b: Quantity) -> Any:
    """Return 1 where two quantities are the same, else 0."""
    return apply("equal", a, b) if _is_symbolic(a, b) else (a == b) * 1


def select(condition: Quantity, a: Quantity, b: Quantity) -> Any:
    """Return `a` where the condition is not 0, else `b` (elementwise for arrays).

    For plans only: inside a layer's formulas a choice is another layer.
    """
    if _is_symbolic(condition, a, b):
        return apply("select", condition, a, b)
    if any(hasattr(x, "shape") for x in (condition, a, b)):
        import numpy

        return numpy.where(condition, a, b)  # type: ignore[arg-type]
    return a if condition else b


OPERATORS: Final[Mapping[str, Callable[..., Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "pow": operator.pow,
    "ceil_div": ceil_div,
    "exact_div": exact_div,
    "ratio": ratio,
    "maximum": maximum,
    "less": less,
    "equal": equal,
    "select": select,
}


def is_zero(quantity: Quantity) -> bool:
    """Tell a literal 0 from a quantity (an array or an expression is never one)."""
    return isinstance(quantity, int) and quantity == 0


def total(quantities: Iterable[Quantity]) -> Quantity:
    """Return the sum from left to right; a literal 0 is left out, as an author would."""
    result: Quantity = 0
    is_first = True
    for quantity in quantities:
        if isinstance(quantity, int) and quantity == 0:
            continue
        result = quantity if is_first else result + quantity
        is_first = False
    return result


def largest(quantities: Iterable[Quantity]) -> Quantity:
    """Return the largest of several quantities, 0 of none."""
    result: Quantity = 0
    for index, quantity in enumerate(quantities):
        result = quantity if index == 0 else maximum(result, quantity)
    return result


def product(quantities: Iterable[Quantity]) -> Quantity:
    """Return the product from left to right, and 1 where there are no factors."""
    result: Quantity = 1
    for index, quantity in enumerate(quantities):
        result = quantity if index == 0 else result * quantity
    return result


def evaluate(quantity: Quantity, values: Mapping[str, Any]) -> Any:
    """Put `values` in for the symbols of `quantity` and compute it.

    Parameters
    ----------
    quantity
        A number, returned as it is, or an expression.
    values
        A value (``int``, ``float`` or NumPy array) for each symbol's name.

    Raises
    ------
    KeyError
        If a symbol has no value.
    """
    if isinstance(quantity, Symbol):
        return values[quantity.name]
    if isinstance(quantity, Number):
        return quantity.value
    if isinstance(quantity, Apply):
        return OPERATORS[quantity.operator](*(evaluate(a, values) for a in quantity.arguments))
    return quantity


def symbols(quantity: Quantity) -> set[str]:
    """Return the names of the symbols in a quantity."""
    if isinstance(quantity, Symbol):
        return {quantity.name}
    if isinstance(quantity, Apply):
        return set().union(*map(symbols, quantity.arguments))
    return set()


def arithmetic_series(first: Quantity, last: Quantity, steps: Quantity) -> Any:
    """Return the sum over `steps` equally spaced terms from `first` to `last`."""
    return exact_div(steps * (first + last), 2)
