"""Instructions of a program as a Python function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

import numpy as np

from mkdocs_dsocr.cost.time import series_of_maximum

_INTEGERS: Final = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "pow": "{0} ** {1}",
    "ceil_div": "-(-{0} // {1})",
    "exact_div": "{0} // {1}",
    "ratio": "{0} / {1}",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
    "less": "({0} < {1}) * 1",
    "equal": "({0} == {1}) * 1",
    "select": "where({0}, {1}, {2})",
    "whole": "{0}",
    "series_of_maximum": f"series_of_maximum({', '.join(f'{{{i}}}' for i in range(9))})",
}
_MIXED: Final = _INTEGERS | {
    "ceil_div": "ceil({0} / {1})",
    "exact_div": "{0} / {1}",
    "whole": "rint({0}).astype(int64)",
}
"""The same where an argument is no integer."""
_FLOATS: Final = _MIXED | {
    "less": "({0} < {1}) * 1.0",
    "equal": "({0} == {1}) * 1.0",
    "whole": "rint({0})",
}
"""The same where integers, too, are computed as floats."""
_CONDITIONS: Final = {"less": "{0} < {1}", "equal": "{0} == {1}"}
"""The same of results that only choose."""
_FUNCTIONS: Final[Mapping[str, Any]] = {
    "ceil": np.ceil,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "rint": np.rint,
    "int64": np.int64,
    "series_of_maximum": series_of_maximum,
}
"""What is called in these."""
_IN_PLACE: Final = {"add": "+=", "sub": "-=", "mul": "*="}
"""How a result is written in the memory of its first argument."""


class Instruction(NamedTuple):
    """One computation of a program: its operator and the names of its arguments."""

    name: str
    operator: str
    arguments: tuple[str, ...]


def function(
    inputs: Iterable[str],
    instructions: Sequence[Instruction],
    outputs: Iterable[str],
    floats: Set[str],
    is_exact: bool,
    is_even: bool,
) -> Any:
    """Return instructions as a function of columns that returns the outputs.

    Parameters
    ----------
    inputs, instructions, outputs
        The names of the columns, what is computed, and the names of what is returned.
    floats
        The names of what is no integer.
    is_exact
        Whether columns and literals are all floats, which have every integer on the way.
    is_even
        Whether all columns have a number for each row: sums and products are then written in the
        memory of an argument that is not needed again.
    """
    kept = {*outputs, *inputs}
    last_use = {a: s.name for s in instructions for a in s.arguments}
    conditions = _conditions(instructions) - kept
    # Arrays of one float: NumPy converts numbers in every call.
    literals = (
        {a for s in instructions for a in s.arguments if is_literal(a)} if is_exact else set()
    )
    names = {literal: f"c{index}" for index, literal in enumerate(literals)}
    by_row = {*inputs} if is_exact and is_even else set()
    lines = [f"def compute({', '.join(sorted(inputs))}):"]
    for instruction in instructions:
        done = {
            a
            for a in instruction.arguments
            if last_use[a] == instruction.name and a.startswith("v")
        } - kept
        arguments = [names.get(a, a) for a in instruction.arguments]
        if reused := _reused(instruction, done & by_row - conditions):
            [other] = [a for a in arguments if a != reused] or [reused]
            lines += [
                f"{reused} {_IN_PLACE[instruction.operator]} {other}",
                f"{instruction.name} = {reused}",
            ]
        else:
            form = _form(instruction, floats, conditions, is_exact)
            lines.append(f"{instruction.name} = {form.format(*arguments)}")
        if not by_row.isdisjoint(instruction.arguments):
            by_row.add(instruction.name)
        # Memory that is given back at once is still in the core's cache when it is used next.
        lines += [f"del {name}" for name in sorted(done)]
    lines.append(f"return ({', '.join(outputs)},)")
    scope = {**_FUNCTIONS, **{name: np.array(float(literal)) for literal, name in names.items()}}
    exec("\n    ".join(lines), scope)
    return scope["compute"]


def is_literal(name: str) -> bool:
    """Return whether an argument is a number."""
    return name[:1] in "-0123456789"


def _conditions(instructions: Iterable[Instruction]) -> set[str]:
    """Return the names of comparisons that only choose."""
    compared = {s.name for s in instructions if s.operator in _CONDITIONS}
    return compared - {a for s in instructions for a in s.arguments[s.operator == "select" :]}


def _reused(instruction: Instruction, free: Set[str]) -> str | None:
    """Return the argument in whose memory a result can be written."""
    if instruction.operator not in _IN_PLACE:
        return None
    first, second = instruction.arguments
    if first in free:
        return first
    return second if second in free and instruction.operator != "sub" else None


def _form(instruction: Instruction, floats: Set[str], conditions: Set[str], is_exact: bool) -> str:
    """Return how an instruction is written."""
    if instruction.name in conditions:
        return _CONDITIONS[instruction.operator]
    is_choice = instruction.operator == "select" and instruction.arguments[0] in conditions
    if is_choice and instruction.arguments[2] == "0" and instruction.name not in floats:
        return "{0} * {1}"  # cheaper than ``where``; of floats that are no numbers not the same
    if is_exact:
        return _FLOATS[instruction.operator]
    forms = _INTEGERS if floats.isdisjoint(instruction.arguments) else _MIXED
    return forms[instruction.operator]
