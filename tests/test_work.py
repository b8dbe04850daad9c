"""What a kernel takes: parts, tiles, minimum times, and sums over steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkdocs_dsocr.cost.rates import MsPer, ms_per
from mkdocs_dsocr.cost.work import Work, exposed_ms, parts_ms, start_ms, work_of
from mkdocs_dsocr.cost.workload import WorkloadCost
from mkdocs_dsocr.inputs import Workload, load_hardware, shipped
from mkdocs_dsocr.layers.builtin import LayerNorm, dot_product_attention
from mkdocs_dsocr.layers.kernels import Kernel
from mkdocs_dsocr.layers.operations import Operation, Pattern, Tensor, elementwise
from mkdocs_dsocr.layers.products import Product
from mkdocs_dsocr.models import load_model_config


def product(rows: Any, inner: Any, columns: Any, groups: Any = 1) -> Work:
    """Return the work of a matrix product, bytes included."""
    x, w = Tensor("x", rows * inner), Tensor("W", inner * columns, role="weight")
    y = Tensor("y", rows * columns)
    one = Operation(
        "x W", "linear", products=(Product(rows, inner, columns, groups),), unit="tensor"
    )
    return work_of(Kernel((one,), (x, w), (y,)))


def time_ms(work: Work, per: MsPer) -> float:
    parts = parts_ms(work, per, work.activations)
    return float(start_ms(work, per) + max(parts) + exposed_ms(work, parts))


def test_a_large_product_reaches_its_share_of_the_peak() -> None:
    """8,192 cubed: whole waves of tiles, and what memory does not hide."""
    gpu = load_hardware("h100-sxm")
    rates = gpu.kernel_rates
    flops, moved = 2 * 8192**3, 3 * 2 * 8192**2
    whole = math.ceil(128**2 / 132) * 132 / 128**2
    split = math.ceil(16 * 128**2 / 132) * 132 / (16 * 128**2)
    one = flops / (989.4e9 * rates.tensor_share)
    compute = min(whole * one, split * one + rates.gemm_us / 1000)
    memory = moved / (gpu.bandwidth_gb_s * 1e6 * rates.bandwidth_share)
    expected = rates.gemm_us / 1000 + compute + 0.3 * memory
    assert time_ms(product(8192, 8192, 8192), ms_per(gpu)) == pytest.approx(expected)


def test_few_rows_take_as_long_as_a_tile_of_them() -> None:
    per = ms_per(load_hardware("h100-sxm"))
    compute = [parts_ms(product(rows, 1280, 132 * 64), per, 0)[0] for rows in (2, 64, 65)]
    assert compute[0] == compute[1] < compute[2]


def test_a_product_of_one_row_is_read_from_memory_where_a_kernel_for_it_is_known() -> None:
    gpu = load_hardware("rtx-5090")
    work, per = product(1, 1280, 6848), ms_per(gpu)
    rates = gpu.kernel_rates
    assert rates.matvec_us is not None
    memory = 2 * (1280 * 6848 + 1280 + 6848)
    cold = 2 * 1280 * 6848 / (gpu.bandwidth_gb_s * 1e6 * rates.bandwidth_share)
    assert memory / (gpu.bandwidth_gb_s * 1e6 * (rates.l2_share or 0)) < cold
    assert time_ms(work, per) == pytest.approx(rates.matvec_us / 1000 + cold)


def test_each_launch_of_an_expert_has_a_group_of_its_own() -> None:
    """Six experts with ten rows each, one by one or as one grouped product."""
    per = ms_per(load_hardware("h100-sxm"))
    one = Operation("x W", "linear", products=(Product(60, 1280, 896, 6),), unit="tensor")
    kernel = Kernel((one,), (), ())
    single, alone = work_of(kernel, starts=6), product(10, 1280, 896)
    assert parts_ms(single, per, 0)[0] == pytest.approx(6 * parts_ms(alone, per, 0)[0])
    assert start_ms(single, per) == pytest.approx(6 * start_ms(alone, per))
    grouped = work_of(kernel)
    assert parts_ms(grouped, per, 0)[0] < parts_ms(single, per, 0)[0]


@pytest.mark.parametrize(
    ("pattern", "elements_a_clock"), [("per element", 1.31), ("strided", None)]
)
def test_elements_that_need_an_address(pattern: Pattern, elements_a_clock: float | None) -> None:
    gpu = load_hardware("h100-sxm")
    x, y = Tensor("x", 10**7), Tensor("y", 10**7)
    step = elementwise("y = x", 0, (x,), y, category="copy", pattern=pattern)
    cuda = parts_ms(work_of(Kernel((step,), (x,), (y,))), ms_per(gpu), 0)[1]
    rate = gpu.kernel_rates.sector_share
    assert rate is not None
    expected = (
        10**7 / (elements_a_clock * 132 * 1.83e6)
        if elements_a_clock
        else 32 * 10**7 / (gpu.bandwidth_gb_s * 1e6 * rate)
    )
    assert cuda == pytest.approx(expected)


def test_attention_computes_whole_tiles_of_scores_and_one_query_none() -> None:
    def scores(queries: int, keys: int, causal: bool = False, mask: bool = False) -> Any:
        attended = dot_product_attention(
            "a",
            (10 * queries, keys, 128),
            10,
            (),
            Tensor("o", 0),
            causal_pairs=causal or None,
            mask=(Tensor("mask", queries * keys, "bool"),) if mask else (),
        )
        return work_of(Kernel((attended,), (), ())).threads

    assert scores(1, 913) == 0
    assert scores(64, 128) == 10 * 64 * 128
    assert scores(65, 129) == 10 * 128 * 256
    assert scores(256, 256, causal=True) == 10 * 256 * (256 + 128) / 2
    # A kernel does not know that a mask which it is given is causal.
    assert scores(256, 256, causal=True, mask=True) == 10 * 256 * 256


def test_activations_are_in_the_l2_cache_if_they_fit() -> None:
    """Of a card with GDDR memory: a small sum is faster than memory, a large one is not."""
    gpu = load_hardware("rtx-5090")
    per = ms_per(gpu)
    for elements, is_warm in ((10**6, True), (10**9, False)):
        x, y = Tensor("x", elements), Tensor("y", elements)
        work = work_of(Kernel((elementwise("−x", 0, (x,), y, category="copy"),), (x,), (y,)))
        memory = work.moved / (gpu.bandwidth_gb_s * 1e6 * gpu.kernel_rates.bandwidth_share)
        assert (max(parts_ms(work, per, work.activations)) < memory * 0.99) is is_warm


def test_a_permuted_norm_copies_first() -> None:
    norm = LayerNorm(rows=100, width=768, permuted=True)
    [kernel] = norm.kernels()
    assert kernel.kernel_launches == 2
    assert [t.elements for t in kernel.rearranged] == [76_800]
    assert LayerNorm(rows=100, width=768).kernels()[0].kernel_launches == 1


GPUS = [g for g in shipped("hardware") if load_hardware(g).tensor_bf16 is not None]


def closed_sum_is_that_of_the_steps(
    text_tokens: int, steps: int, batch: int, gpu: str, model: str, traffic: Any
) -> None:
    workload = Workload(
        profile_id="drawn",
        text_only=True,
        text_tokens=text_tokens,
        max_new_tokens=steps + 1,
        batch_size=batch,
        traffic=traffic,
    )
    cost = WorkloadCost(load_model_config(model), workload, "drawn")
    hardware = load_hardware(gpu)
    closed = cost.on(hardware).stages["decode"].device_ms
    per = ms_per(hardware)
    single = sum(cost.pass_cost(cost.plan.step(n)).on(per).device_ms for n in range(1, steps + 1))
    assert closed == pytest.approx(single, rel=1e-9)


DRAWN = {
    "text_tokens": st.integers(1, 5000),
    "steps": st.integers(1, 5),
    "batch": st.integers(1, 40),
    "gpu": st.sampled_from(GPUS),
    "model": st.sampled_from(["deepseek-ocr-v1-base", "unlimited-ocr"]),
    "traffic": st.sampled_from(["eager", "fused"]),
}
SLOW_CHECK = [HealthCheck.too_slow]


@settings(max_examples=12, deadline=None, suppress_health_check=SLOW_CHECK)
@given(**DRAWN)
def test_a_closed_sum_is_that_of_the_steps(**drawn: Any) -> None:
    closed_sum_is_that_of_the_steps(**drawn)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=SLOW_CHECK)
@given(**DRAWN)
def test_many_closed_sums_are_those_of_the_steps(**drawn: Any) -> None:
    closed_sum_is_that_of_the_steps(**drawn)
