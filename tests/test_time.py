"""Estimate and floor: what they are made of, and in which order they must stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkdocs_dsocr.cost.workload import MOST_TIMED
from mkdocs_dsocr.inputs import Hardware, ModelConfig, Workload, load_hardware, shipped
from mkdocs_dsocr.inputs.hardware import Rates
from mkdocs_dsocr.report import Analysis

GPUS = [i for i in shipped("hardware") if load_hardware(i).peak("bf16")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_compulsory_fused_eager_and_floor_estimate_stand_in_order(
    config: ModelConfig, data: st.DataObject
) -> None:
    draw = data.draw
    pages = draw(st.integers(1, 100))
    workload = Workload(
        profile_id="w",
        base_size=64 * draw(st.integers(1, 20)),
        image_size=640,
        crop_mode=True,
        crop_grid=(draw(st.integers(1, 5)), draw(st.integers(1, 5))),
        max_tiles=25,
        text_tokens=draw(st.integers(0, 500)),
        max_new_tokens=draw(st.integers(1, 4000)),
        batch_size=draw(st.integers(1, min(pages, 40))),
        num_pages=pages,
        logits_positions=draw(st.sampled_from(["all", "last"])),
        host_mode=draw(st.sampled_from(["eager", "cuda_graph"])),
    )
    gpu = load_hardware(draw(st.sampled_from(GPUS)))
    analysis = Analysis(config, workload, gpu)
    for stage, metrics in analysis.report.stages.items():
        assert metrics.compulsory_io_bytes <= metrics.io_bytes <= metrics.eager_io_bytes, stage
        assert metrics.causal_tensor_core_flops <= metrics.tensor_core_flops
        assert metrics.floor_time_ms <= metrics.device_time_ms * (1 + 1e-9), stage
        assert metrics.time_ms == max(metrics.device_time_ms, metrics.host_time_ms)
    latency = analysis.report.latency
    if latency.tpot_first_ms is not None:
        assert latency.tpot_last_ms is not None
        assert latency.tpot_first_ms <= latency.tpot_last_ms * (1 + 1e-9)


def test_host_time_is_launches_and_waits(analyse: Callable[..., Analysis], gpu: Hardware) -> None:
    assert gpu.host is not None
    eager = analyse("dsocr-tiny", max_new_tokens=101).report.stages["decode"]
    assert eager.host_syncs == 100 * 12
    assert eager.host_time_ms == pytest.approx(
        (eager.dispatches * gpu.host.dispatch_us + eager.host_syncs * gpu.host.synchronise_us)
        / 1000
    )
    assert eager.binding_ceiling == "host"
    graph = analyse("dsocr-tiny", max_new_tokens=101, host_mode="cuda_graph").report
    decode = graph.stages["decode"]
    assert decode.host_time_ms == pytest.approx(100 * gpu.host.dispatch_us / 1000)
    assert decode.time_ms == decode.device_time_ms
    assert graph.stages["prefill"].host_time_ms > decode.host_time_ms


@pytest.mark.parametrize("tiles", [(2, 2), (2, 3)])
def test_launches_and_waits_are_those_of_the_vendors_code(
    analyse: Callable[..., Analysis], tiles: tuple[int, int]
) -> None:
    """1,526 operators in vision, 26 waits before the first token, 12 in a decode step.

    Counted in the vendor's own code on ``meta``, with FlashAttention as one operator.
    """
    changed = {"crop_grid": tiles, "page_size": None, "max_new_tokens": 11}
    found = analyse("dsocr-snapshot-2x2", **changed).report.stages
    assert abs(found["vision"].dispatches - 1526) <= 1
    assert found["vision"].host_syncs + found["prefill"].host_syncs == 26
    assert found["decode"].host_syncs == 10 * 12


def test_latency_is_made_of_the_passes(analyse: Callable[..., Analysis]) -> None:
    """One page: the first token after vision, projector and prefill, then decode steps."""
    report = analyse("dsocr-standard-v1").report
    before = sum(report.stages[s].time_ms for s in ("vision", "projector", "prefill"))
    latency = report.latency
    assert latency.ttft_ms == pytest.approx(before)
    assert latency.tpot_middle_ms is not None
    assert report.stages["decode"].time_ms == pytest.approx(511 * latency.tpot_middle_ms, rel=0.01)
    assert latency.tokens_per_s == pytest.approx(1000 / latency.tpot_middle_ms)
    assert latency.pages_per_day == pytest.approx(86_400_000 / report.predicted_total_time_ms)
    batch = analyse("dsocr-standard-v1", batch_size=4, num_pages=10).report.latency
    assert batch.ttft_ms > latency.ttft_ms + 3 * report.stages["vision"].time_ms


def test_one_new_token_needs_no_decode(analyse: Callable[..., Analysis]) -> None:
    latency = analyse("dsocr-tiny", max_new_tokens=1).report.latency
    assert latency.tpot_middle_ms is None
    assert latency.tokens_per_s is None


def test_achieved_rates_move_the_estimate_and_not_the_floor(
    config: ModelConfig, gpu: Hardware, analyse: Callable[..., Analysis]
) -> None:
    workload = analyse("dsocr-base", host_mode="cuda_graph").workload
    rates = Rates(
        tensor_tflops=gpu.peak_tflops("bf16") / 2,
        bandwidth_gb_s=gpu.bandwidth_gb_s / 2,
        source="made up",
    )
    slow = Analysis(config, workload, gpu.model_copy(update={"achieved": rates})).report
    peak = Analysis(config, workload, gpu).report

    times = [r.stages["decode"].device_time_by_ceiling_ms for r in (slow, peak)]
    share = gpu.kernel_rates.bandwidth_share
    assert times[0]["memory"] / times[1]["memory"] == pytest.approx(2 * share, rel=0.02)
    assert times[0]["kernel start"] == times[1]["kernel start"]
    assert slow.floor_total_time_ms == peak.floor_total_time_ms


def test_a_profile_without_host_costs(config: ModelConfig, gpu: Hardware) -> None:
    workload = Workload(
        profile_id="w",
        base_size=512,
        image_size=512,
        crop_mode=False,
        text_tokens=1,
        max_new_tokens=2,
    )
    report = Analysis(config, workload, gpu.model_copy(update={"host": None})).report
    assert all(s.host_time_ms == 0 for s in report.stages.values())


def test_eager_traffic_is_timed_operation_by_operation(analyse: Callable[..., Analysis]) -> None:
    fused = analyse("dsocr-tiny", host_mode="cuda_graph", traffic="fused").report
    eager = analyse("dsocr-tiny", host_mode="cuda_graph", traffic="eager").report
    for one, other in zip(fused.module_metrics, eager.module_metrics, strict=True):
        assert other.io_bytes == other.eager_io_bytes == one.eager_io_bytes
        assert other.total_time_ms >= one.total_time_ms * (1 - 1e-12)
    assert eager.predicted_total_time_ms > 1.02 * fused.predicted_total_time_ms
    assert eager.floor_total_time_ms == fused.floor_total_time_ms
    assert eager.memory == fused.memory


def test_times_are_kept_for_the_last_gpus_alone(
    analyse: Callable[..., Analysis], gpu: Hardware
) -> None:
    cost = analyse("dsocr-tiny").cost
    first = cost.on(gpu)
    assert cost.on(gpu) is first
    for number in range(MOST_TIMED):
        cost.on(gpu.model_copy(update={"hardware_id": f"gpu-{number}"}))
    again = cost.on(gpu)
    assert again is not first
    assert again.stages == first.stages
    assert [n.total.time_ms for n in again.nodes.values()] == [
        n.total.time_ms for n in first.nodes.values()
    ]
