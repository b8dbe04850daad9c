"""Formats of stored values, and autocast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.builtin import ExpertLinear, Group, Linear
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.layers.kernels import fuse
from mkdocs_dsocr.layers.precision import Precision
from mkdocs_dsocr.models import pass_layer
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.tracing.autocast import autocast
from mkdocs_dsocr.verify.formulas import verify

PLAIN = {"weight_dtype": "bf16", "activation_dtype": "bf16", "kv_dtype": "bf16"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bf16", 2 * 896 * 1280),
        ("fp16", 2 * 896 * 1280),
        ("fp8", 896 * 1280),
        # Ten groups of 128 inputs a row, a 16-bit scale each.
        ("int8", 896 * 1280 + 2 * 10 * 896),
        ("int4", 896 * 640 + 2 * 10 * 896),
        # 80 groups of 16 and 40 of 32, an 8-bit scale each.
        ("nvfp4", 896 * 640 + 80 * 896),
        ("mxfp4", 896 * 640 + 40 * 896),
    ],
)
def test_bytes_of_a_weight(name: str, expected: int) -> None:
    precision = Precision(weight=FORMATS[name])
    linear = Linear(rows=3, d_in=1280, d_out=896, bias=True, precision=precision)
    bias = 2 * 896
    assert metrics.weight_bytes(linear) == expected + bias
    (weight,) = (t for t in linear.operations()[0].reads if t.name == "W")
    assert weight.bytes == expected
    experts = ExpertLinear(
        rows=6, d_in=1280, d_out=896, experts=64, distinct=5, top_k=2, precision=precision
    )
    (weight,) = (t for t in experts.operations()[0].reads if t.name == "W")
    assert (weight.bytes, weight.least_bytes) == (5 * expected, 2 * expected)
    assert metrics.weight_bytes(experts) == 64 * expected


@given(elements=st.integers(0, 10**6), columns=st.integers(1, 5000))
def test_bits_are_rounded_up_to_bytes(elements: int, columns: int) -> None:
    int4 = FORMATS["int4"]
    assert int4.bytes(elements) == (elements + 1) // 2
    rows = elements // columns
    scales = int4.bytes(rows * columns, columns) - int4.bytes(rows * columns)
    assert scales == 2 * rows * (-(-columns // 128))


def test_which_tensors_are_quantised(analyse: Callable[..., Analysis]) -> None:
    """Linears and nothing else: every other class weighs what it did."""
    plain, small = analyse("dsocr-tiny"), analyse("dsocr-tiny", weight_dtype="int4")
    weights = {
        name: tuple(
            sum(n.own.weight_bytes for n in a.classes[name] if n.visit.parent_id)
            for a in (plain, small)
        )
        for name in plain.classes
    }
    assert {name for name, (a, b) in weights.items() if a != b} == {"Linear", "LMHead"}
    for name in ("Linear", "LMHead"):
        before, after = weights[name]
        assert 0.25 < after / before < 0.27
    assert plain.report.model.num_parameters == small.report.model.num_parameters


def test_kv_cache_activations_and_peak_follow_their_formats(
    analyse: Callable[..., Analysis],
) -> None:
    plain = analyse("dsocr-tiny", max_new_tokens=5).report
    cache = analyse("dsocr-tiny", max_new_tokens=5, kv_dtype="fp8").report
    assert 2 * cache.metrics("decode").kvcache_bytes == plain.metrics("decode").kvcache_bytes
    assert cache.metrics("vision").io_bytes == plain.metrics("vision").io_bytes
    narrow = analyse("dsocr-tiny", max_new_tokens=5, activation_dtype="fp8").report
    vision = narrow.memory.stages["vision"], plain.memory.stages["vision"]
    assert 2 * vision[0].activation_bytes == vision[1].activation_bytes
    # float32 logits stay.
    assert narrow.memory.stages["prefill"].activation_bytes > 129_280 * 4


def test_products_run_at_the_peak_of_what_both_sides_have(
    analyse: Callable[..., Analysis],
) -> None:
    """Tensor-core time falls where weights and activations are both of 8 bits."""
    plain = analyse("dsocr-tiny")
    weights = analyse("dsocr-tiny", weight_dtype="fp8")
    both = analyse("dsocr-tiny", weight_dtype="fp8", activation_dtype="fp8")

    def formats(analysis: Analysis) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for visit in tree.walk(analysis.root.visit.layer):
            for operation in visit.layer.operations():
                if operation.products and operation.unit == "tensor":
                    found.setdefault(visit.layer.class_name(), set()).add(operation.compute_dtype)
        return found

    assert set().union(*formats(plain).values()) == {"bf16"}
    assert set().union(*formats(weights).values()) == {"bf16"}
    assert formats(both)["Linear"] == {"fp8"}
    assert formats(both)["Conv2d"] == {"bf16"}
    # The cache is of 16 bits.
    assert formats(both)["LlamaFlashAttention2"] == {"bf16"}
    assert formats(both)["NoTPAttention"] == {"fp8"}
    floors = [a.report.stages["vision"].floor_time_ms for a in (plain, weights, both)]
    assert floors[0] == floors[1] > floors[2]


@pytest.mark.parametrize(
    ("gpu", "dtypes", "refused"),
    [
        ("t4", {}, "products in bf16"),
        ("t4", {"activation_dtype": "fp16"}, ""),
        ("a100-40gb-sxm", {"weight_dtype": "fp8"}, ""),
        ("a100-40gb-sxm", {"weight_dtype": "fp8", "activation_dtype": "fp8"}, "products in fp8"),
        ("rtx-5090", {"weight_dtype": "nvfp4", "activation_dtype": "nvfp4"}, ""),
        ("rtx-5090", {"weight_dtype": "mxfp4", "activation_dtype": "mxfp4"}, ""),
        ("mi355x", {"weight_dtype": "mxfp4", "activation_dtype": "mxfp4"}, ""),
        ("mi355x", {"weight_dtype": "nvfp4", "activation_dtype": "nvfp4"}, "products in nvfp4"),
        ("h100-sxm", {"weight_dtype": "nvfp4"}, ""),
        ("h100-sxm", {"weight_dtype": "nvfp4", "activation_dtype": "nvfp4"}, "products in nvfp4"),
    ],
)
def test_a_gpu_without_the_format_is_refused_by_name(
    tmp_path: Path, gpu: str, dtypes: dict[str, str], refused: str
) -> None:
    text = "\n".join(f"{k}: {v}" for k, v in dtypes.items())
    path = tmp_path / "w.yaml"
    path.write_text(
        "profile_id: w\nbase_size: 640\nimage_size: 640\ncrop_mode: false\n"
        f"text_tokens: 5\nmax_new_tokens: 5\n{text}\n"
    )
    settings_ = pipeline.Settings(workloads=(str(path),), hardware=(gpu,))
    if not refused:
        assert pipeline.analyse(settings_)[0][0].report.predicted_total_time_ms > 0
        return
    with pytest.raises(InputError) as error:
        pipeline.analyse(settings_)
    assert refused in str(error.value)
    assert "w.yaml" in str(error.value)
    assert f"tensor cores of {gpu} know" in str(error.value)


@settings(max_examples=15, deadline=None)
@given(
    formats=st.tuples(*[st.sampled_from(sorted(FORMATS))] * 3),
    part=st.sampled_from(["vision", "language"]),
    autocasts=st.booleans(),
)
def test_fused_moves_no_more_than_eager_in_any_precision(
    config: ModelConfig, formats: tuple[str, str, str], part: str, autocasts: bool
) -> None:
    weight, activation, cache = (FORMATS[f] for f in formats)
    if part == "vision":
        shape = PassShape("vision.local", "vision", image_size=896, tiles_w=2, tiles_h=1)
    else:
        shape = PassShape("prefill", "language", batch=2, q_len=9, kv_len=30, logits=9)
    precision = Precision(weight, activation, cache, autocast=autocasts)
    group = Group(items=pass_layer(config, shape).items, precision=precision)
    for visit in tree.walk(group):
        for kernel in fuse(visit.layer.operations()):
            eager = sum(o.eager_bytes for o in kernel.operations)
            assert kernel.io_bytes <= eager, (visit.module_id, kernel.name)  # type: ignore[operator]


@pytest.mark.parametrize(
    "workload",
    ["dsocr-standard-v1", pytest.param("dsocr-snapshot-2x2", marks=pytest.mark.slow)],
)
def test_autocast_is_verified(
    analyse: Callable[..., Analysis], analyzer: StaticAnalyzer, workload: str
) -> None:
    """Casts, launches, bytes and peaks equal a trace under CUDA's rules."""
    analysis = analyse(workload, precision_mode="autocast", batch_size=2, num_pages=2)
    verification = verify([analysis], analyzer.trace(analysis.plan.shapes))
    assert verification.failures == []
    plain = analyse(workload, batch_size=2, num_pages=2)
    for stage in ("vision", "prefill"):
        cast, module = analysis.report.stages[stage], plain.report.stages[stage]
        assert cast.matmul_flops == module.matmul_flops
        assert cast.dispatches > module.dispatches
        assert cast.eager_io_bytes > module.eager_io_bytes
    vision = analysis.report.stages["vision"]
    growth = vision.eager_io_bytes / plain.report.stages["vision"].eager_io_bytes
    assert 1.1 < growth < 1.25  # the vendor's own code grows by as much


def test_formats_are_verified_as_16_bits(
    analyse: Callable[..., Analysis], analyzer: StaticAnalyzer
) -> None:
    analysis = analyse("dsocr-tiny", weight_dtype="int4", kv_dtype="fp8", max_new_tokens=2)
    assert verify([analysis], analyzer.trace(analysis.plan.shapes)).failures == []


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: F.linear(x, x), torch.bfloat16),
        (lambda x: F.conv2d(x[None, None], x[None, None]), torch.bfloat16),
        (lambda x: torch.einsum("ij,jk->ik", x, x), torch.bfloat16),
        (lambda x: nn.LayerNorm(4, dtype=torch.bfloat16)(x.bfloat16()), torch.float32),
        (lambda x: x.bfloat16().pow(2), torch.float32),
        (lambda x: x.bfloat16().softmax(dim=-1), torch.float32),
        (lambda x: torch.cat((x, x.bfloat16())), torch.float32),
        (lambda x: x.bfloat16() + x, torch.float32),
        (lambda x: x.bfloat16() * x.bfloat16(), torch.bfloat16),
        (lambda x: F.gelu(x.bfloat16()), torch.bfloat16),
    ],
)
def test_cudas_rules_without_cuda(
    call: Callable[[torch.Tensor], torch.Tensor], expected: torch.dtype
) -> None:
    with torch.inference_mode(), autocast("cpu", enabled=True):
        assert call(torch.ones(4, 4)).dtype == expected
