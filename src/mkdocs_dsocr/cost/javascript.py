"""A program as a JavaScript function: the same formulas, step by step, for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mkdocs_dsocr.cost.program import Program

OPERATORS: Final[Mapping[str, str]] = {
    "add": "{0}+{1}",
    "sub": "{0}-{1}",
    "mul": "{0}*{1}",
    "pow": "{0}**{1}",
    "ceil_div": "ceilDiv({0},{1})",
    "exact_div": "{0}/{1}",
    "ratio": "{0}/{1}",
    "maximum": "max({0},{1})",
    "minimum": "min({0},{1})",
    "less": "+({0}<{1})",
    "equal": "+({0}==={1})",
    "select": "{0}?{1}:{2}",
    "whole": "whole({0})",
    "series_of_maximum": f"seriesOfMaximum({','.join(f'{{{i}}}' for i in range(9))})",
}
"""How each operator is written; the functions stand in ``formulas.js``."""


def function(name: str, program: Program) -> str:
    """Return a program as a function of an object of its symbols that returns one of its outputs.

    Parameters
    ----------
    name
        The function's name.
    program
        What it computes; its variables keep their names.
    """
    lines = [f"function {name}({{{', '.join(sorted(program.inputs))}}}) {{"]
    lines += [
        f"const {s.name}={OPERATORS[s.operator].format(*s.arguments)};"
        for s in program.instructions
    ]
    outputs = ",".join(f'"{key}":{value}' for key, value in program.outputs.items())
    return "\n".join([*lines, f"return {{{outputs}}};", "}", ""])
