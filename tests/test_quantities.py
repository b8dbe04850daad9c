"""The algebra: every operator in every reading, and SymPy as the oracle."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.quantities import (
    OPERATORS,
    Apply,
    Expr,
    Number,
    Quantity,
    Symbol,
    arithmetic_series,
    ceil_div,
    equal,
    evaluate,
    exact_div,
    less,
    maximum,
    product,
    ratio,
    select,
    total,
)
from mkdocs_dsocr.site import notation

NAMES = ("N", "d_in", "h")
EXACT = ("add", "sub", "mul", "pow", "ceil_div", "maximum")
VALUES = st.fixed_dictionaries({name: st.integers(1, 40) for name in NAMES})


def trees(depth: int = 3) -> st.SearchStrategy[Expr]:
    leaves = st.one_of(st.sampled_from([Symbol(n) for n in NAMES]), st.integers(1, 9).map(Number))
    if depth == 0:
        return leaves
    inner = trees(depth - 1)
    binary = st.tuples(st.sampled_from(("add", "sub", "mul", "maximum")), inner, inner)
    by_number = st.tuples(
        st.sampled_from(("pow", "ceil_div")), inner, st.integers(1, 3).map(Number)
    )
    return st.one_of(leaves, st.one_of(binary, by_number).map(lambda t: Apply(t[0], (t[1], t[2]))))


def as_sympy(tree: Quantity) -> Any:
    if isinstance(tree, Symbol):
        return sympy.Symbol(tree.name, integer=True)
    if isinstance(tree, Number):
        return sympy.Integer(tree.value)
    assert isinstance(tree, Apply)
    a, b = (as_sympy(x) for x in tree.arguments)
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "pow": lambda: a**b,
        "ceil_div": lambda: sympy.ceiling(a / b),
        "maximum": lambda: sympy.Max(a, b),
    }[tree.operator]()


@given(trees(), VALUES)
def test_a_tree_evaluates_as_sympy_says(tree: Expr, values: dict[str, int]) -> None:
    numbers = {sympy.Symbol(name, integer=True): v for name, v in values.items()}
    expected = as_sympy(tree).subs(numbers)
    assert evaluate(tree, values) == int(expected)


@given(trees(), VALUES)
def test_arrays_and_integers_agree(tree: Expr, values: dict[str, int]) -> None:
    # Object arrays hold Python integers, so nothing overflows.
    arrays = {k: np.array([v, v + 1], dtype=object) for k, v in values.items()}
    result = np.broadcast_to(evaluate(tree, arrays), (2,))
    assert result[0] == evaluate(tree, values)
    assert result[1] == evaluate(tree, {k: v + 1 for k, v in values.items()})


@given(trees(), VALUES)
def test_the_text_of_a_formula_means_the_formula(tree: Expr, values: dict[str, int]) -> None:
    """What a reader sees, read back by Python's own parser, has the formula's value."""
    code = notation.text(tree).replace("·", "*").replace("−", "-").replace("^", "**")
    code = code.replace("⌈", "ceil(").replace("⌉", ")").replace(" / ", "/")
    scope = {"max": sympy.Max, "ceil": sympy.ceiling}
    names = {k: sympy.Integer(v) for k, v in values.items()}
    assert eval(code, {"__builtins__": {}}, {**scope, **names}) == evaluate(tree, values)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_has_every_notation(name: str) -> None:
    count = len(inspect.signature(OPERATORS[name]).parameters)
    tree = Apply(name, (Symbol("a_1"), Symbol("b"), Symbol("c"))[:count])
    assert "a_1" in notation.text(tree)
    assert "a_{1}" in notation.latex(tree)
    assert "<msub><mi>a</mi><mi>1</mi></msub>" in notation.mathml(tree)
    assert "<i>a<sub>1</sub></i>" in notation.html(tree)
    assert "7" in notation.text(tree, {"a_1": 7, "b": 3, "c": 5})


def test_the_form_is_kept_as_it_was_written() -> None:
    n, d = Symbol("N"), Symbol("d")
    assert notation.text(2 * n * d * d + 0 * n) == "2·N·d·d + 0·N"
    assert notation.text((n - (d - 1)) * 3) == "(N − (d − 1))·3"
    assert notation.text(ratio(n + 1, d * 2) ** 2) == "((N + 1) / (d·2))^2"


def test_a_formula_in_html_has_raised_exponents_and_escaped_signs() -> None:
    n, d = Symbol("N_in"), Symbol("d")
    raised = notation.html(ratio(n + 1, d * 2) ** 2)
    assert raised == "((<i>N<sub>in</sub></i> + 1) / (<i>d</i>·2))<sup>2</sup>"
    assert notation.html(n**2, {"N_in": 1400}) == "1,400<sup>2</sup>"
    assert notation.html(less(n, d)) == "[<i>N<sub>in</sub></i> &lt; <i>d</i>]"


def test_a_long_term_can_be_wrapped() -> None:
    short, long = Symbol("a") * 2, Symbol("h") * sum((Symbol(f"x_{i}") for i in range(30)), 0)
    assert notation.terms([short, long]).count("<math") == 1
    assert "<i>x<sub>29</sub></i>" in notation.terms([short, long])


def test_integers_stay_exact() -> None:
    big = 10**30 + 1
    assert ceil_div(big, 2) == (10**30) // 2 + 1
    assert exact_div(big * 3, 3) == big
    assert maximum(big, 2) == big
    assert total([0, big, 0, 1]) == big + 1
    assert product([]) == 1
    assert isinstance(ceil_div(7, 2), int)


def test_exact_div_refuses_a_rest() -> None:
    with pytest.raises(ValueError, match="3 does not divide 7"):
        exact_div(7, 3)
    with pytest.raises(ValueError, match="does not divide"):
        exact_div(np.array([6, 7]), 3)  # type: ignore[arg-type]
    assert list(exact_div(np.array([6, 9]), 3)) == [2, 3]  # type: ignore[arg-type]


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 500))
def test_an_arithmetic_series_is_the_sum_of_its_terms(first: int, step: int, steps: int) -> None:
    terms = [first + step * i for i in range(steps)]
    assert arithmetic_series(terms[0], terms[-1], steps) == sum(terms)


@given(st.integers(0, 3), st.integers(0, 3), st.integers(), st.integers())
def test_conditions_choose_in_every_reading(a: int, b: int, x: int, y: int) -> None:
    names = [Symbol(n) for n in "abxy"]
    formulas: list[Callable[..., Any]] = [
        lambda a, b, x, y: select(less(a, b), x, y),
        lambda a, b, x, y: select(maximum(less(a, b), equal(a, b)), x, y),
        lambda a, b, x, y: select(equal(a, b) * less(0, a), x, y),
    ]
    expected = [x if a < b else y, x if a <= b else y, x if a == b > 0 else y]
    arrays = [np.array([v, v], dtype=object) for v in (a, b, x, y)]
    for formula, value in zip(formulas, expected, strict=True):
        assert formula(a, b, x, y) == value
        assert formula(*arrays).tolist() == [value, value]
        assert evaluate(formula(*names), dict(zip("abxy", (a, b, x, y), strict=True))) == value


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="N"):
        evaluate(Symbol("N") + 1, {})
