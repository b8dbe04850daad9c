"""Formulas as readers see them: MathML, HTML and LaTeX for pages, plain text for files.

All of them are written from the expression tree of :mod:`mkdocs_dsocr.quantities`, as it was
built. `values` replaces symbols by numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from mkdocs_dsocr.quantities import Apply, Number, Quantity, Symbol

SUM: Final = 1
PRODUCT: Final = 2
POWER: Final = 3
ATOM: Final = 4


class _Operator(NamedTuple):
    """How an operator is written.

    Attributes
    ----------
    binds
        How tightly its result binds.
    needs
        How tightly each argument must bind to be written without parentheses on a line.
    text, latex, mathml
        The operator with places for its arguments.
    typeset_needs
        The same as `needs` where fractions and exponents have a line of their own.
    """

    binds: int
    needs: tuple[int, ...]
    text: str
    latex: str
    mathml: str
    typeset_needs: tuple[int, ...] | None = None

    @property
    def html(self) -> str:
        """The text, with exponents raised and signs escaped."""
        return self.text.replace("<", "&lt;").replace("^{1}", "<sup>{1}</sup>")


_FRACTION: Final = _Operator(
    PRODUCT,
    (PRODUCT, POWER),
    "{0} / {1}",
    r"\frac{{{0}}}{{{1}}}",
    "<mfrac><mrow>{0}</mrow><mrow>{1}</mrow></mfrac>",
    (0, 0),
)
OPERATORS: Final[Mapping[str, _Operator]] = {
    "add": _Operator(SUM, (SUM, SUM), "{0} + {1}", "{0} + {1}", "{0}<mo>+</mo>{1}"),
    "sub": _Operator(SUM, (SUM, PRODUCT), "{0} − {1}", "{0} - {1}", "{0}<mo>−</mo>{1}"),
    "mul": _Operator(PRODUCT, (PRODUCT, PRODUCT), "{0}·{1}", r"{0} \cdot {1}", "{0}<mo>·</mo>{1}"),
    "exact_div": _FRACTION,
    "ratio": _FRACTION,
    "pow": _Operator(
        POWER,
        (ATOM, ATOM),
        "{0}^{1}",
        "{0}^{{{1}}}",
        "<msup><mrow>{0}</mrow><mrow>{1}</mrow></msup>",
        (ATOM, 0),
    ),
    "ceil_div": _Operator(
        ATOM,
        (PRODUCT, POWER),
        "⌈{0} / {1}⌉",
        r"\left\lceil \frac{{{0}}}{{{1}}} \right\rceil",
        "<mrow><mo>⌈</mo><mfrac><mrow>{0}</mrow><mrow>{1}</mrow></mfrac><mo>⌉</mo></mrow>",
        (0, 0),
    ),
    "maximum": _Operator(
        ATOM,
        (0, 0),
        "max({0}, {1})",
        r"\max\left({0}, {1}\right)",
        "<mrow><mi>max</mi><mo>(</mo>{0}<mo>,</mo>{1}<mo>)</mo></mrow>",
    ),
    "less": _Operator(
        ATOM,
        (SUM, SUM),
        "[{0} < {1}]",
        r"\left[{0} < {1}\right]",
        "<mrow><mo>[</mo>{0}<mo>&lt;</mo>{1}<mo>]</mo></mrow>",
    ),
    "equal": _Operator(
        ATOM,
        (SUM, SUM),
        "[{0} = {1}]",
        r"\left[{0} = {1}\right]",
        "<mrow><mo>[</mo>{0}<mo>=</mo>{1}<mo>]</mo></mrow>",
    ),
    "select": _Operator(
        ATOM,
        (0, 0, 0),
        "({1} if {0}, else {2})",
        r"\left({1}\text{{ if }}{0}\text{{, else }}{2}\right)",
        "<mrow><mo>(</mo>{1}<mtext> if </mtext>{0}<mtext>, else </mtext>{2}<mo>)</mo></mrow>",
    ),
}


class _Notation(NamedTuple):
    """How one notation writes numbers, symbols and parentheses, and its column of OPERATORS."""

    name: str
    number: str
    subscript: str
    plain: str
    parentheses: str


TEXT: Final = _Notation("text", "{0}", "{0}_{1}", "{0}", "({0})")
HTML: Final = _Notation("html", "{0}", "<i>{0}<sub>{1}</sub></i>", "<i>{0}</i>", "({0})")
LATEX: Final = _Notation("latex", "{0}", "{0}_{{{1}}}", "{0}", r"\left({0}\right)")
MATHML: Final = _Notation(
    "mathml",
    "<mn>{0}</mn>",
    "<msub><mi>{0}</mi><mi>{1}</mi></msub>",
    "<mi>{0}</mi>",
    "<mrow><mo>(</mo>{0}<mo>)</mo></mrow>",
)
LONGEST: Final = 70
"""Characters of a term that fits into a column of a table."""
ROW_OF_ONE: Final = re.compile(r"<mrow>(<(m[in])>[^<]*</\2>)</mrow>")
"""A row around a single token, which needs none."""


def text(quantity: Quantity, values: Mapping[str, Any] | None = None) -> str:
    """Return a formula as plain text."""
    return _write(quantity, TEXT, values, 0)


def html(quantity: Quantity, values: Mapping[str, Any] | None = None) -> Markup:
    """Return a formula on one line of HTML: a third of its MathML, without fractions."""
    return Markup(_write(quantity, HTML, values, 0))


def latex(quantity: Quantity, values: Mapping[str, Any] | None = None) -> str:
    """Return a formula as LaTeX."""
    return _write(quantity, LATEX, values, 0)


@lru_cache(maxsize=4096, typed=True)
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
    """Return a sum with one MathML element per term; a long term is HTML, which browsers wrap."""
    return Markup(" + ").join(map(_term, quantities))


@lru_cache(maxsize=4096, typed=True)
def _term(quantity: Quantity) -> Markup:
    alt = text(quantity)
    if len(alt) > LONGEST:
        return Markup(_write(quantity, HTML, None, SUM))
    return Markup(f'<math alttext="{escape(alt)}">{_mathml(quantity, SUM)}</math>')


def _mathml(quantity: Quantity, outer: int) -> str:
    return ROW_OF_ONE.sub(r"\1", _write(quantity, MATHML, None, outer))


def assignment(symbol: str, value: str) -> Markup:
    """Return a symbol and what it is, as HTML."""
    letter, _, below = symbol.partition("_")
    index = Markup("<sub>{}</sub>").format(below) if below else ""
    return Markup("<i>{}{}</i> = {}").format(letter, index, value)


def number(value: Any) -> str:
    """Write a number: an integer with all its digits, others to six."""
    if isinstance(value, int):
        return str(value)
    shown = f"{value:.6g}"
    return shown.replace("e", "·10^") if "e" in shown else shown


def grouped(value: Any) -> str:
    """Write a number for a reader: an integer in groups of three digits."""
    return f"{value:,}" if isinstance(value, int) else number(value)


def _write(
    quantity: Quantity, notation: _Notation, values: Mapping[str, Any] | None, outer: int
) -> str:
    if isinstance(quantity, Symbol):
        if values is not None:
            return notation.number.format(grouped(values[quantity.name]))
        name, _, below = quantity.name.partition("_")
        form = notation.subscript if below else notation.plain
        return form.format(name, below)
    if not isinstance(quantity, Apply):
        value = quantity.value if isinstance(quantity, Number) else quantity
        is_shown = notation in (HTML, MATHML) or values is not None
        return notation.number.format(grouped(value) if is_shown else number(value))
    operator = OPERATORS[quantity.operator]
    needs = operator.needs
    if notation in (LATEX, MATHML) and operator.typeset_needs is not None:
        needs = operator.typeset_needs
    arguments = [
        _write(argument, notation, values, needed)
        for argument, needed in zip(quantity.arguments, needs, strict=True)
    ]
    written = str(getattr(operator, notation.name)).format(*arguments)
    return notation.parentheses.format(written) if operator.binds < outer else written
