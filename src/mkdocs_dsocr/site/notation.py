"""Formulas as readers see them: MathML for pages, LaTeX beside it, plain text for files.

The three visitors walk the expression tree of :mod:`mkdocs_dsocr.quantities` and
write it down as it was built. `values` puts numbers in for symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from mkdocs_dsocr.quantities import Apply, Number, Quantity, Symbol

SUM: Final = 1
PRODUCT: Final = 2
POWER: Final = 3
ATOM: Final = 4

PRECEDENCE: Final = {
    "add": SUM,
    "sub": SUM,
    "mul": PRODUCT,
    "exact_div": PRODUCT,
    "ratio": PRODUCT,
    "pow": POWER,
    "ceil_div": ATOM,
    "maximum": ATOM,
    "less": ATOM,
    "equal": ATOM,
    "select": ATOM,
}
"""How tightly what an operator builds holds together."""

ON_A_LINE: Final[Mapping[str, tuple[int, ...]]] = {
    "add": (SUM, SUM),
    "sub": (SUM, PRODUCT),
    "mul": (PRODUCT, PRODUCT),
    "exact_div": (PRODUCT, POWER),
    "ratio": (PRODUCT, POWER),
    "pow": (ATOM, ATOM),
    "ceil_div": (PRODUCT, POWER),
    "maximum": (0, 0),
    "less": (SUM, SUM),
    "equal": (SUM, SUM),
    "select": (0, 0, 0),
}
"""How tightly each argument must hold together to stand without parentheses."""

TYPESET: Final[Mapping[str, tuple[int, ...]]] = {
    **ON_A_LINE,
    "exact_div": (0, 0),
    "ratio": (0, 0),
    "pow": (ATOM, 0),
    "ceil_div": (0, 0),
}
"""The same where fractions and exponents have a line of their own."""


@dataclass(frozen=True)
class _Notation:
    """How one notation writes numbers, symbols and operators."""

    number: str
    subscript: str
    plain: str
    parentheses: str
    operators: Mapping[str, str]
    needed: Mapping[str, tuple[int, ...]]


TEXT: Final = _Notation(
    number="{0}",
    subscript="{0}_{1}",
    plain="{0}",
    parentheses="({0})",
    operators={
        "add": "{0} + {1}",
        "sub": "{0} − {1}",
        "mul": "{0}·{1}",
        "pow": "{0}^{1}",
        "ceil_div": "⌈{0} / {1}⌉",
        "exact_div": "{0} / {1}",
        "ratio": "{0} / {1}",
        "maximum": "max({0}, {1})",
        "less": "[{0} < {1}]",
        "equal": "[{0} = {1}]",
        "select": "({1} if {0}, else {2})",
    },
    needed=ON_A_LINE,
)
LATEX: Final = _Notation(
    number="{0}",
    subscript="{0}_{{{1}}}",
    plain="{0}",
    parentheses=r"\left({0}\right)",
    operators={
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": r"{0} \cdot {1}",
        "pow": "{0}^{{{1}}}",
        "ceil_div": r"\left\lceil \frac{{{0}}}{{{1}}} \right\rceil",
        "exact_div": r"\frac{{{0}}}{{{1}}}",
        "ratio": r"\frac{{{0}}}{{{1}}}",
        "maximum": r"\max\left({0}, {1}\right)",
        "less": r"\left[{0} < {1}\right]",
        "equal": r"\left[{0} = {1}\right]",
        "select": r"\left({1}\text{{ if }}{0}\text{{, else }}{2}\right)",
    },
    needed=TYPESET,
)
MATHML: Final = _Notation(
    number="<mn>{0}</mn>",
    subscript="<msub><mi>{0}</mi><mi>{1}</mi></msub>",
    plain="<mi>{0}</mi>",
    parentheses="<mrow><mo>(</mo>{0}<mo>)</mo></mrow>",
    operators={
        "add": "{0}<mo>+</mo>{1}",
        "sub": "{0}<mo>−</mo>{1}",
        "mul": "{0}<mo>·</mo>{1}",
        "pow": "<msup><mrow>{0}</mrow><mrow>{1}</mrow></msup>",
        "ceil_div": (
            "<mrow><mo>⌈</mo><mfrac><mrow>{0}</mrow><mrow>{1}</mrow></mfrac><mo>⌉</mo></mrow>"
        ),
        "exact_div": "<mfrac><mrow>{0}</mrow><mrow>{1}</mrow></mfrac>",
        "ratio": "<mfrac><mrow>{0}</mrow><mrow>{1}</mrow></mfrac>",
        "maximum": "<mrow><mi>max</mi><mo>(</mo>{0}<mo>,</mo>{1}<mo>)</mo></mrow>",
        "less": "<mrow><mo>[</mo>{0}<mo>&lt;</mo>{1}<mo>]</mo></mrow>",
        "equal": "<mrow><mo>[</mo>{0}<mo>=</mo>{1}<mo>]</mo></mrow>",
        "select": (
            "<mrow><mo>(</mo>{1}<mtext> if </mtext>{0}<mtext>, else </mtext>{2}<mo>)</mo></mrow>"
        ),
    },
    needed=TYPESET,
)


ROW_OF_ONE: Final = re.compile(r"<mrow>(<(m[in])>[^<]*</\2>)</mrow>")
"""A row around a single token, which needs none."""


def text(quantity: Quantity, values: Mapping[str, Any] | None = None) -> str:
    """Return a formula as plain text."""
    return _write(quantity, TEXT, values, 0)


def latex(quantity: Quantity, values: Mapping[str, Any] | None = None) -> str:
    """Return a formula as LaTeX."""
    return _write(quantity, LATEX, values, 0)


def mathml(quantity: Quantity) -> Markup:
    """Return a formula as a MathML element with its text and, unless a symbol, its LaTeX."""
    body, alt = _mathml(quantity, 0), escape(text(quantity))
    if isinstance(quantity, Symbol):
        return Markup(f'<math alttext="{alt}">{body}</math>')
    tex = escape(latex(quantity))
    return Markup(
        f'<math alttext="{alt}"><semantics><mrow>{body}</mrow>'
        f'<annotation encoding="application/x-tex">{tex}</annotation></semantics></math>'
    )


def terms(quantities: Iterable[Quantity]) -> Markup:
    """Return a sum, an element a term: a browser breaks lines between them, never inside."""
    return Markup(" + ").join(
        Markup(f'<math alttext="{escape(text(term))}">{_mathml(term, SUM)}</math>')
        for term in quantities
    )


def _mathml(quantity: Quantity, outer: int) -> str:
    return ROW_OF_ONE.sub(r"\1", _write(quantity, MATHML, None, outer))


def assignment(symbol: str, value: str) -> Markup:
    """Return a symbol and what it is, as HTML."""
    letter, _, below = symbol.partition("_")
    index = Markup("<sub>{}</sub>").format(below) if below else ""
    return Markup("<i>{}</i>{} = {}").format(letter, index, value)


def number(value: Any) -> str:
    """Write a number: an integer with all its digits, others to six."""
    if isinstance(value, int):
        return str(value)
    shown = f"{value:.6g}"
    return shown.replace("e", "·10^") if "e" in shown else shown


def _write(
    quantity: Quantity, notation: _Notation, values: Mapping[str, Any] | None, outer: int
) -> str:
    if isinstance(quantity, Symbol):
        if values is not None:
            return notation.number.format(number(values[quantity.name]))
        name, _, below = quantity.name.partition("_")
        form = notation.subscript if below else notation.plain
        return form.format(name, below)
    if not isinstance(quantity, Apply):
        value = quantity.value if isinstance(quantity, Number) else quantity
        return notation.number.format(number(value))
    name = quantity.operator
    arguments = [
        _write(argument, notation, values, needed)
        for argument, needed in zip(quantity.arguments, notation.needed[name], strict=True)
    ]
    written = notation.operators[name].format(*arguments)
    return notation.parentheses.format(written) if PRECEDENCE[name] < outer else written
