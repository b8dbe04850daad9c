"""Bytes: what counts as touched, fused against eager, and the experts that a batch touches."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import flop_registry

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.layers import tree
from mkdocs_dsocr.layers.decoder import expected_distinct
from mkdocs_dsocr.layers.kernels import fuse
from mkdocs_dsocr.models import Load, expert_shares, pass_layer
from mkdocs_dsocr.quantities import Quantity
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.counter import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.operators import OPERATORS, Operator, find_operator, registry


def shapes() -> st.SearchStrategy[PassShape]:
    """Return any pass: views of any size, projections, prefills, decode steps."""
    return st.one_of(
        st.builds(
            lambda part, **sizes: PassShape(f"{part}.local", part, **sizes),
            st.sampled_from(["vision", "projector"]),
            image_size=st.integers(1, 40).map(lambda n: 64 * n),
            tiles_w=st.integers(1, 9),
            tiles_h=st.integers(1, 9),
        ),
        st.builds(
            lambda batch, q_len, past, logits: PassShape(
                "prefill",
                "language",
                batch=batch,
                q_len=q_len,
                kv_len=q_len + past,
                image_tokens=q_len // 2,
                logits=min(logits, q_len),
            ),
            st.integers(1, 64),
            st.integers(1, 4000),
            st.integers(0, 4000),
            st.integers(1, 4000),
        ),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shape=shapes())
def test_each_operation_is_in_one_kernel_and_fused_moves_no_more(
    config: ModelConfig, shape: PassShape
) -> None:
    for visit in tree.walk(pass_layer(config, shape), shape.pass_id):
        operations = visit.layer.operations()
        kernels = fuse(operations)
        inside = [o for kernel in kernels for o in kernel.operations]
        assert sorted(map(id, inside)) == sorted(map(id, operations))
        for kernel in kernels:
            eager = sum(o.eager_bytes for o in kernel.operations)
            assert kernel.io_bytes <= eager, (visit.module_id, kernel.name)  # type: ignore[operator]


EXPERTS, TOP_K, MOST = 64, 6, 703


@pytest.fixture(scope="module")
def seen() -> list[float]:
    """Return how many experts the first tokens choose together, on average, by their number."""
    draw, rounds = random.Random(1), 3000
    sums = [0] * (MOST + 1)
    for _ in range(rounds):
        chosen: set[int] = set()
        for tokens in range(1, MOST + 1):
            if len(chosen) < EXPERTS:
                chosen.update(draw.sample(range(EXPERTS), TOP_K))
            sums[tokens] += len(chosen)
    return [total / rounds for total in sums]


@pytest.mark.parametrize("tokens", [*range(1, 65), MOST])
def test_expected_distinct_experts(seen: list[float], tokens: int) -> None:
    """Within 1 % of a Monte Carlo, and between its bounds."""
    expected = expected_distinct(EXPERTS, TOP_K, tokens)
    assert isinstance(expected, float)
    assert expected + 1e-9 >= TOP_K
    assert expected <= min(EXPERTS, TOP_K * tokens) + 1e-9
    assert expected == pytest.approx(seen[tokens], rel=0.01)


def test_layers_that_route_apart_count_as_their_mean(analyse: Callable[..., Analysis]) -> None:
    """Seven layers with 6 experts and four with 7, in every step of a loop."""
    analysis = analyse("dsocr-tiny", batch_size=2, num_pages=2, max_new_tokens=6)
    run = next(r for r in analysis.plan.runs if r.stage == "decode")

    def expert(distinct: Quantity) -> tuple[int, int]:
        load = Load(distinct, 1)
        routing = {run.first: load, run.last: load}
        nodes = dataclasses.replace(analysis, routing=routing).nodes
        own = nodes["decode/model.layers.[1-11].mlp.experts.[0-63].gate_proj"].own
        return own.eager_io_bytes, own.dispatches

    six, seven, mixed = expert(6), expert(7), expert(Fraction(70, 11))
    assert mixed == tuple((7 * a + 4 * b) // 11 for a, b in zip(six, seven, strict=True))
    assert mixed[1] == 5 * 70


def _bytes(run: Callable[[], object]) -> tuple[int, int]:
    counter = OperatorCounter(Modules(torch.nn.Module()))
    with torch.inference_mode(), counter.watching():
        run()
    return counter.eager_bytes[EVERYTHING], counter.dispatches[EVERYTHING]


BF16 = torch.zeros(6, 4, dtype=torch.bfloat16)
WIDE = torch.zeros(6, 4)
ROWS = torch.tensor([1, 3])


@pytest.mark.parametrize(
    ("run", "expected", "launched"),
    [
        (lambda: WIDE + WIDE.T.T, 96 + 96, 1),
        (lambda: WIDE + torch.zeros(1).expand(4), 4 + 96 + 4 + 96, 2),
        (lambda: WIDE.view(4, 6).transpose(0, 1)[1:], 0, 0),
        (lambda: WIDE.reshape(24), 0, 0),
        (lambda: WIDE.T.reshape(24), 96 + 96, 1),
        (BF16.float, 48 + 96, 1),
        (WIDE.float, 0, 0),
        (lambda: torch.empty(100), 0, 0),
        (lambda: WIDE[ROWS], 32 + 16 + 32, 1),
        (lambda: torch.nn.functional.embedding(ROWS, WIDE), 32 + 16 + 32, 1),
        (lambda: WIDE.clone().mul_(2), 96 + 96 + 96 + 96, 2),
        (lambda: torch.cat((WIDE, WIDE[:2])), 96 + 32 + 128, 1),
        (lambda: WIDE.topk(2), 96 + 48 + 96, 1),
    ],
)
def test_what_an_operator_touches(run: Callable[[], object], expected: int, launched: int) -> None:
    """Inputs once, outputs once; views nothing; a gather its rows and indices."""
    assert _bytes(run) == (expected, launched)


def test_attention_is_one_kernel_and_merging_heads_a_view() -> None:
    q = torch.zeros(2, 5, 3, 8, dtype=torch.bfloat16).transpose(1, 2)
    attention = torch.nn.functional.scaled_dot_product_attention

    def run() -> object:
        return attention(q, q.clone(), q.clone()).transpose(1, 2).reshape(2, 5, 24)

    size = 2 * 5 * 3 * 8 * 2
    assert _bytes(run) == (2 * 2 * size + 4 * size, 3)


def _systematic(shares: list[float], draw: random.Random) -> list[int]:
    """Return experts of one token: each with the probability of its share, their sum in all."""
    order = list(range(len(shares)))
    draw.shuffle(order)
    chosen, total, mark = [], 0.0, draw.random()
    for expert in order:
        total += shares[expert]
        if total > mark:
            chosen.append(expert)
            mark += 1
    return chosen


@pytest.mark.parametrize("tokens", [1, 4, 16, pytest.param(703, marks=pytest.mark.slow)])
def test_a_skewed_routing_touches_fewer_experts(
    analyse: Callable[..., Analysis], tokens: int
) -> None:
    """Within 1 % of a Monte Carlo of tokens that choose each expert as often as its load says."""
    skewed = tuple(1 / (1 + rank) ** 0.5 for rank in range(64))
    changes = {"batch_size": tokens, "num_pages": tokens, "max_new_tokens": 2}
    even = analyse("dsocr-tiny", **changes)
    analysis = analyse("dsocr-tiny", expert_load=skewed, **changes)

    def distinct(a: Analysis) -> float:
        found = next(p for p in a.report.passes if p.stage == "decode").distinct_experts
        assert found is not None
        assert found.fewest == 6
        assert found.most == min(64, 6 * tokens)
        assert found.fewest <= found.expected + 1e-9
        assert found.expected <= found.most + 1e-9
        return found.expected

    shares = expert_shares(skewed, 6)
    assert sum(shares) == pytest.approx(6)
    draw = random.Random(tokens)
    rounds = 4000 if tokens < 40 else 300
    seen = sum(
        len({e for _ in range(tokens) for e in _systematic(shares, draw)}) for _ in range(rounds)
    )
    assert distinct(analysis) == pytest.approx(seen / rounds, rel=0.01)
    assert distinct(analysis) <= distinct(even) + 1e-9
    mine, evenly = (a.report.stages["decode"] for a in (analysis, even))
    assert mine.matmul_flops == evenly.matmul_flops
    assert mine.io_bytes <= evenly.io_bytes


def test_an_even_load_is_the_default(analyse: Callable[..., Analysis]) -> None:
    plain = analyse("dsocr-tiny", max_new_tokens=9).report
    even = analyse("dsocr-tiny", max_new_tokens=9, expert_load=(3.0,) * 64).report
    assert even.stages["decode"].io_bytes == plain.stages["decode"].io_bytes
    assert even.memory == plain.memory


def test_the_registry_has_each_operator_once() -> None:
    with pytest.raises(ValueError, match="operator add: registered twice"):
        registry((Operator("add", "arithmetic"), Operator("mul", "view"), Operator("add", "move")))


def test_the_registry_agrees_with_pytorch() -> None:
    """Each name is an operator; only products have FLOPs by PyTorch's own counter."""
    assert all(hasattr(torch.ops.aten, name) for name in OPERATORS if name != "_grouped_mm")
    counted = {packet.__name__ for packet in flop_registry}
    assert {o.kind for o in OPERATORS.values() if o.name in counted} == {"product"}
    assert find_operator("no_such_operator").kind == "unknown"
