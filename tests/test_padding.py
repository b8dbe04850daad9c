"""Products padded to whole tiles of a tensor core."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.report import Analysis

sides = st.integers(1, 500)


@given(rows=sides, inner=sides, columns=sides, groups=st.integers(1, 9))
def test_padding_rounds_every_side_up(rows: int, inner: int, columns: int, groups: int) -> None:
    product = Product(rows * groups, inner, columns, groups)

    def up(side: int, tile: int) -> int:
        return -(-side // tile) * tile

    one = 2 * up(rows, 16) * up(inner, 16) * up(columns, 8)
    assert product.padded_flops() == groups * one
    assert product.flops == 2 * groups * rows * inner * columns
    assert one >= 2 * rows * inner * columns


def test_a_window_has_196_rows_and_an_expert_sees_66(analyse: Callable[..., Analysis]) -> None:
    """196 rows take 13 tiles; 703 tokens bring an expert 66 rows, which take 5."""
    nodes = analyse("dsocr-snapshot-2x2").nodes
    windows = next(
        n
        for i, n in nodes.items()
        if i.startswith("vision.global/model.sam_model.blocks.[0") and i.endswith(".attn")
    )
    products = windows.own.padded_tensor_core_flops / windows.own.tensor_core_flops
    assert 1 < products < 1.2
    expert = nodes["prefill/model.layers.[1-11].mlp.experts.[0-63].gate_proj"].own
    assert expert.padded_tensor_core_flops / expert.tensor_core_flops == pytest.approx(
        80 / (6 * 703 / 64), rel=1e-6
    )


def test_decode_pads_one_row_to_sixteen(analyse: Callable[..., Analysis]) -> None:
    nodes = analyse("dsocr-tiny", max_new_tokens=50).nodes
    head = nodes["decode/lm_head"].own
    assert head.padded_tensor_core_flops == 16 * head.tensor_core_flops


def test_the_sum_over_steps_equals_every_step(analyse: Callable[..., Analysis]) -> None:
    """Padding grows in jumps; the closed form against each step alone."""
    analysis = analyse("dsocr-tiny", max_new_tokens=42)
    run = next(r for r in analysis.plan.runs if r.stage == "decode")
    by_formula = analysis.nodes["decode"].total.padded_tensor_core_flops
    single = 0
    for step in range(run.steps):
        # A prompt longer by `step` tokens, of which one step is decoded.
        one = analyse("dsocr-tiny", max_new_tokens=2, text_tokens=10 + step)
        single += one.nodes["decode"].total.padded_tensor_core_flops
    assert by_formula == single
