"""Formulas as one NumPy program: every common part is computed once."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np

from mkdocs_dsocr.cost.arrays import Instruction, function, is_literal
from mkdocs_dsocr.cost.ranges import FIXED, range_of
from mkdocs_dsocr.cost.sums import Sum, combined, common_factor
from mkdocs_dsocr.quantities import Apply, Expr, Number, Quantity, Symbol

Array = np.ndarray
BLOCK: Final = 16_384
"""Rows that are computed at once: their columns fit a core's cache."""
LARGEST: Final = 2**59
"""What an integer may come to, so that sixteen of them still add up in 64 bits."""
LARGEST_FLOAT: Final = 2**53
"""Up to this one, float64 has every integer: sums, products and whole quotients are exact."""
_OF_RESULTS: Final = re.compile(r"[cv]\d+")
"""Names of results and of literals in :mod:`mkdocs_dsocr.cost.arrays`."""
_WHOLE: Final = ("whole", "less", "equal")
"""Operators whose result is an integer, whatever they are given."""


class Program:
    """Computes several quantities from columns of their symbols.

    Parameters
    ----------
    outputs
        Quantities by name, of symbols of which none is negative.
    floats
        Names of the symbols that stand for no integers.
    """

    def __init__(self, outputs: Mapping[str, Quantity], floats: Iterable[str] = ()) -> None:
        self._floats = set(floats)
        self._names: dict[tuple[str, ...], str] = {}
        self._known: dict[int, str] = {}
        self._kept: list[Expr] = []
        self._sums: dict[str, Sum] = {}
        self._signed: set[str] = set()
        self.instructions: list[Instruction] = []
        self.inputs: set[str] = set()
        self.outputs = {name: self._name(quantity) for name, quantity in outputs.items()}
        self.instructions = self._needed()
        self._bounded = self._to_integers()
        self._functions: dict[tuple[bool, bool], Any] = {}
        literals = {a for s in self.instructions for a in s.arguments if is_literal(a)}
        self._literals = {a: (_number(a),) * 2 for a in literals}

    def run(self, columns: Mapping[str, Any], rows: int) -> dict[str, Array]:
        """Return each output for every row.

        Parameters
        ----------
        columns
            An array of `rows` entries, or one number for all of them, by symbol. Floats may be
            ``[n, 1]``: outputs that depend on those are ``[n, rows]``.
        rows
            How many there are.

        Raises
        ------
        OverflowError
            If an integer might not fit 64 bits.
        """
        chosen = {name: columns[name] for name in self.inputs}
        is_exact = self._largest(chosen) <= LARGEST_FLOAT
        is_even = all(np.shape(column) == (rows,) for column in chosen.values())
        compute = self._compiled(is_exact, is_even)
        results: dict[str, Array] = {}
        width = max((len(c) for c in chosen.values() if np.ndim(c) == 2), default=1)
        block = max(BLOCK // width, 1)
        for start in range(0, rows, block):
            part = slice(start, min(start + block, rows))
            cut = {n: c[..., part] if np.shape(c)[-1:] == (rows,) else c for n, c in chosen.items()}
            if is_exact:
                cut = {n: np.asarray(c, np.float64) for n, c in cut.items()}
            for (name, variable), value in zip(self.outputs.items(), compute(**cut), strict=True):
                if name not in results:
                    dtype = np.float64 if variable in self._floats else np.int64
                    results[name] = np.empty((*np.shape(value)[:-1], rows), dtype)
                results[name][..., part] = value
        return results

    def _name(self, quantity: Quantity) -> str:
        """Return the variable, or the literal, that stands for a quantity.

        Sums over many nodes are deeper than Python's calls may be: what is still to be named is
        kept in a list.
        """
        pending = [quantity]
        while pending:
            current = pending[-1]
            unknown = [a for a in _arguments(current) if self._is_unknown(a)]
            if unknown:
                pending += reversed(unknown)
            elif self._is_unknown(pending.pop()):
                arguments = tuple(self._leaf(argument) for argument in _arguments(current))
                self._known[id(current)] = self._simplest(current.operator, arguments)  # type: ignore[union-attr]
                self._kept.append(current)  # type: ignore[arg-type]  # so that its id stays its own
        return self._leaf(quantity)

    def _is_unknown(self, quantity: Quantity) -> bool:
        return isinstance(quantity, Apply) and id(quantity) not in self._known

    def _leaf(self, quantity: Quantity) -> str:
        """Return the same of a quantity whose arguments have names."""
        if isinstance(quantity, Number):
            quantity = quantity.value
        if isinstance(quantity, Symbol):
            if _OF_RESULTS.fullmatch(quantity.name):
                raise ValueError(f"{quantity.name}: a name of results; rename the symbol")
            self.inputs.add(quantity.name)
            return quantity.name
        if isinstance(quantity, Apply):
            return self._known[id(quantity)]
        return repr(float(quantity) if isinstance(quantity, Fraction) else quantity)

    def _simplest(self, operator: str, arguments: tuple[str, ...]) -> str:
        """Return the variable of a result, by cheaper operators where there are any."""
        if (same := self._rewritten(operator, arguments)) is not None:
            return same
        if operator == "series_of_maximum" and arguments[:4] == arguments[4:8]:
            parts = [a for a in arguments[:4] if a != "0"]
            largest = functools.reduce(
                lambda a, b: self._instruction("maximum", (a, b)), parts or ["0"]
            )
            return self._instruction("mul", (arguments[8], largest))
        if operator == "select" and self._names.get(("less", *arguments[1:])) == arguments[0]:
            return self._instruction("minimum", arguments[1:])
        return self._instruction(operator, arguments)

    def _sum(self, name: str) -> Sum:
        """Return the sum that an integer stands for."""
        if name.lstrip("-").isdigit():
            return {(): int(name)} if int(name) else {}
        return self._sums.get(name, {(name,): 1})

    def _integer(self, operator: str, a: Sum, b: Sum) -> str | None:
        """Return the variable of a result that is a sum, or a product of sums."""
        is_signed = any(name in self._signed for sum_ in (a, b) for term in sum_ for name in term)
        result = None if operator == "maximum" and is_signed else combined(operator, a, b)
        if result is None and operator == "mul":
            # Not multiplied out: that may be many more instructions.
            (first, a), (second, b) = common_factor(a), common_factor(b)
            product = self._instruction("mul", (self._variable(a), self._variable(b)))
            result = {(product,): first * second}
        return None if result is None else self._variable(result)

    def _variable(self, sum_: Sum) -> str:
        """Return the variable of a sum; sums with the same first terms share instructions."""
        result = "0"
        for product, factor in sorted(sum_.items(), key=lambda term: term[1] < 0):
            term = self._term(product, abs(factor))
            if result == "0" and factor > 0:
                result = term
            else:
                result = self._instruction("add" if factor > 0 else "sub", (result, term))
        if any(sum_):
            self._sums[result] = sum_
        return result

    def _term(self, product: tuple[str, ...], factor: int) -> str:
        """Return the variable of a product times a number, or the literal of a number."""
        if not product:
            return str(factor)
        result = functools.reduce(lambda a, b: self._instruction("mul", (a, b)), product)
        return result if factor == 1 else self._instruction("mul", (result, str(factor)))

    def _has_floats(self, arguments: tuple[str, ...]) -> bool:
        return any(a in self._floats or _is_float(a) for a in arguments)

    def _rewritten(self, operator: str, arguments: tuple[str, ...]) -> str | None:
        """Return the variable of a result that other operators compute; None if they do not."""
        if operator == "mul" and "1" in arguments:
            return arguments[arguments[0] == "1"]
        if operator == "pow" and arguments[1] == "2":
            return self._simplest("mul", (arguments[0], arguments[0]))
        if operator == "select" and arguments[1] == arguments[2]:
            return arguments[1]
        if operator == "whole" and arguments[0] not in self._floats:
            return arguments[0]
        if len(arguments) == 2 and not self._has_floats(arguments):
            return self._integer(operator, *map(self._sum, arguments))
        return None

    def _instruction(self, operator: str, arguments: tuple[str, ...]) -> str:
        key = (operator, *arguments)
        if key not in self._names:
            name = f"v{len(self.instructions)}"
            self.instructions.append(Instruction(name, operator, arguments))
            self._names[key] = name
            is_float = operator not in _WHOLE and self._has_floats(arguments)
            if operator == "ratio" or is_float:
                self._floats.add(name)
            if self._may_be_negative(operator, arguments):
                self._signed.add(name)
        return self._names[key]

    def _may_be_negative(self, operator: str, arguments: tuple[str, ...]) -> bool:
        signed = [a in self._signed or a.startswith("-") for a in arguments]
        if operator == "sub" or operator in FIXED:
            return operator == "sub"
        return all(signed) if operator == "maximum" else any(signed)

    def _needed(self) -> list[Instruction]:
        """Return the instructions that outputs need, each late: few results are live at once."""
        instructions = {instruction.name: instruction for instruction in self.instructions}
        found: dict[str, Instruction] = {}
        pending = [name for name in reversed(self.outputs.values()) if name in instructions]
        while pending:
            instruction = instructions[pending[-1]]
            missing = [a for a in instruction.arguments if a in instructions and a not in found]
            if missing:
                pending += reversed(missing)
            else:
                found[pending.pop()] = instruction
        return [*found.values()]

    def _to_integers(self) -> list[Instruction]:
        """Return the instructions whose results are integers, and those that these are made of."""
        needed, found = set[str](), []
        for instruction in reversed(self.instructions):
            is_integer = instruction.name not in self._floats and instruction.operator not in FIXED
            if is_integer or instruction.name in needed:
                needed |= {*instruction.arguments}
                found.append(instruction)
        return found[::-1]

    def _compiled(self, is_exact: bool, is_even: bool) -> Any:
        """Return the instructions as a function; a program that becomes a script needs none."""
        if (is_exact, is_even) not in self._functions:
            self._functions[is_exact, is_even] = function(
                self.inputs,
                self.instructions,
                self.outputs.values(),
                self._floats,
                is_exact,
                is_even,
            )
        return self._functions[is_exact, is_even]

    def _largest(self, columns: Mapping[str, Any]) -> int:
        """Return what no integer on the way exceeds; refuse columns for which one might not fit."""
        ranges: dict[str, tuple[Any, Any]] = dict(self._literals)
        most: Any = max((abs(low) for low, _ in ranges.values() if isinstance(low, int)), default=0)
        used = {a for instruction in self._bounded for a in instruction.arguments}
        for name in self.inputs & used | self.inputs - self._floats:
            column = columns[name]
            low, high = (column.min(), column.max()) if isinstance(column, Array) else (column,) * 2
            ranges[name] = (low, high)
            if name not in self._floats:
                ranges[name] = (int(low), int(high))
                most = max(most, int(high), -int(low))
        for instruction in self._bounded:
            arguments = [ranges[a] for a in instruction.arguments]
            low, high = range_of(instruction.operator, arguments)
            ranges[instruction.name] = low, high
            if instruction.name not in self._floats:
                most = max(most, high, -low)
        if most > LARGEST:
            raise OverflowError(
                f"an integer of up to {most:.3g}: sums of such may need over 64 bits"
            )
        return int(most)


def _number(literal: str) -> int | float:
    return float(literal) if _is_float(literal) else int(literal)


def _is_float(literal: str) -> bool:
    return is_literal(literal) and not literal.lstrip("-").isdigit()


def _arguments(quantity: Quantity) -> tuple[Quantity, ...]:
    return quantity.arguments if isinstance(quantity, Apply) else ()
