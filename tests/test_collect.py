"""Collected formulas: shorter than the code's, and equal to them for all values."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from mkdocs_dsocr.inputs import Hardware, load_workload
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.quantities import Quantity, Symbol, evaluate, symbols, total
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site.collect import collected, terms
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.notation import text

N, h, E, k, m = map(Symbol, "NhEkm")


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        (2 * N * h * E + 2 * N * k * h * m + 2 * N * k * m * h, "2·N·h·(E + 2·k·m)"),
        (N * h + N * h + N * h, "3·N·h"),
        (3 * N + 5 + 4, "3·N + 9"),
        (N * h - N * h, "0"),
        ((2 * k - 1) * N * h + N * h, "2·N·h·k"),
        (N**2 * h + N * h * N, "2·N^2·h"),
    ],
)
def test_equal_terms_are_added_and_common_factors_stand_in_front(
    formula: Quantity, written: str
) -> None:
    assert text(collected(formula)) == written


def _every_sum(analysis: Analysis) -> Iterator[Quantity]:
    for page in layer_pages(analysis).values():
        for form in page.forms:
            symbolic = form.example.layer.symbolic()
            for metric in (metrics.matmul_flops, metrics.cuda_core_flops, metrics.num_parameters):
                yield total(v.modules * metric(v.layer) for v in tree.walk(symbolic))
            yield from (o.eager_bytes for o in symbolic.operations())


@pytest.mark.parametrize("model", ["deepseek-ocr-v1-base", "unlimited-ocr"])
def test_a_collected_form_is_equal_to_the_codes(gpu: Hardware, model: str) -> None:
    draw = random.Random(5)
    analysis = Analysis(load_model_config(model), load_workload("dsocr-standard-v1"), gpu)
    shorter = 0
    for formula in _every_sum(analysis):
        short = collected(formula)
        shorter += len(terms(short)) < len(terms(formula))
        for _ in range(3):
            # Whole numbers that quotients in the formulas divide.
            values = {name: 24 * draw.randint(1, 50) for name in symbols(formula)}
            assert evaluate(short, values) == evaluate(formula, values), text(formula)
    assert shorter > 50
