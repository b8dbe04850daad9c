"""Decode at every batch size: the array evaluation against single analyses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mkdocs_dsocr.inputs import load_hardware
from mkdocs_dsocr.report import Analysis


def test_points_equal_an_analysis_of_that_batch(analyse: Callable[..., Analysis]) -> None:
    serving = analyse("dsocr-standard-v1").report.serving
    assert serving is not None
    assert [p.batch for p in serving.points] == [1, 2, 4, 8, 16, 32, serving.largest_batch]
    for point in serving.points[::3]:
        batch = point.batch
        one = analyse("dsocr-standard-v1", batch_size=batch, num_pages=batch)
        latency = one.report.latency
        # Expectations of experts are rounded to whole bytes and launches in the report.
        assert point.tpot_ms == pytest.approx(latency.tpot_middle_ms, rel=1e-3)
        assert point.tokens_per_s == pytest.approx(latency.tokens_per_s, rel=1e-3)


def test_the_wall_is_where_memory_ends(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-standard-v1")
    serving = analysis.report.serving
    assert serving is not None
    last = serving.points[-1]
    assert last.batch == serving.largest_batch
    room = analysis.hardware.room_bytes
    one_more = (last.memory_bytes - serving.points[-2].memory_bytes) / (
        last.batch - serving.points[-2].batch
    )
    assert last.memory_bytes <= room < last.memory_bytes + one_more
    assert one_more > 1023 * 61_440


def test_where_compute_takes_over(analyse: Callable[..., Analysis]) -> None:
    """Attention never turns; experts turn after the projections, since they share the rows."""
    serving = analyse("dsocr-standard-v1").report.serving
    assert serving is not None
    critical = serving.critical_batches
    assert critical["decode/model.layers.0.self_attn"] is None
    projection = critical["decode/model.layers.0.self_attn.q_proj"]
    expert = critical["decode/model.layers.[1-11].mlp.experts.[0-63].gate_proj"]
    assert projection is not None
    assert expert is not None
    assert 100 < projection < expert

    gpu = load_hardware("rtx-5090")

    def products_to_bytes(batch: int) -> float:
        flops, moved = 2 * batch * 1280**2, 2 * (1280**2 + 2 * batch * 1280)
        rates = gpu.kernel_rates
        compute_s = flops / (gpu.peak_tflops("bf16") * 1e12 * rates.tensor_share)
        return compute_s * gpu.bandwidth_gb_s * 1e9 * rates.bandwidth_share / moved

    assert products_to_bytes(projection - 1) < 1 <= products_to_bytes(projection)


def test_a_gpu_that_is_too_small(analyse: Callable[..., Analysis]) -> None:
    analysis = analyse("dsocr-tiny")
    tiny = load_hardware("rtx-5090").model_copy(update={"memory_bytes": 6 * 10**9})
    serving = Analysis(analysis.config, analysis.workload, tiny).report.serving
    assert serving is not None
    assert serving.largest_batch is None
    assert serving.points == []


def test_nothing_to_decode(analyse: Callable[..., Analysis]) -> None:
    assert analyse("dsocr-tiny", max_new_tokens=1).report.serving is None
