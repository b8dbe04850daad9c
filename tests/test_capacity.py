"""The largest batch: found by a search, and run as a server would run it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.models import load_model_config
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.measurement_plan import Batches
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.capacity import capacity, search
from mkdocs_dsocr.tracing.reference.decoder import DeepseekV2MoE
from mkdocs_dsocr.tracing.session import build_session
from tests.conftest import TINY_CONFIG, TINY_UNLIMITED


@given(border=st.integers(0, 16_384), guess=st.integers(0, 20_000))
def test_the_largest_batch_is_found(border: int, guess: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= border

    assert search(fits, guess) == border
    assert len(tried) == len(set(tried)) <= 2 * 15
    if abs(border - guess) <= guess // 100:
        assert max(abs(t - guess) for t in tried) <= 3 * (guess // 100 + 1)


def test_a_batch_runs_out_of_memory(
    analyse: Callable[..., Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search as a GPU would see it, whose memory is the model's less a workspace."""
    analysis = analyse("dsocr-standard-v1", num_pages=3, batch_size=2)
    memory, workspace = 40 * 10**9, 10**8
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (memory, memory))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    needed = analysis.footprints(memory)

    def run(shape: PassShape) -> None:
        if needed[shape.batch - 1] + workspace > memory:
            raise torch.OutOfMemoryError

    found = capacity(analysis.batches, run)
    assert found.memory_bytes == memory
    assert found.predicted_batch == analysis.batches.largest(memory) > 50
    assert needed[found.largest_batch - 1] + workspace <= memory
    assert needed[found.largest_batch] + workspace > memory


def test_a_batch_runs_whole_at_its_last_step(analyse: Callable[..., Analysis]) -> None:
    per_page = analyse("dsocr-standard-v1", num_pages=3, batch_size=2).batches
    prefill, decode = per_page.shapes(5)
    assert (prefill.pass_id, prefill.batch) == ("prefill", 5)
    assert (decode.pass_id, decode.batch, decode.kv_len) == ("decode", 5, 512 + 511)
    batched = analyse(
        "dsocr-standard-v1", num_pages=2, batch_size=2, vision_batching="batched"
    ).batches
    vision = {s.pass_id: s.pages for s in batched.shapes(5) if s.part != "language"}
    assert vision == dict.fromkeys(
        ("vision.global", "vision.local", "projector.global", "projector.local"), 5
    )
    assert isinstance(batched, Batches)
    assert batched.largest(10**9) == 0


@pytest.mark.parametrize(
    "text", [TINY_CONFIG, TINY_UNLIMITED], ids=["deepseek-ocr", "unlimited-ocr"]
)
def test_a_run_that_is_made_once_gives_its_cache_up(text: str, tmp_path: Path) -> None:
    """So its memory is a server's, not that of two caches."""
    (tmp_path / "config.json").write_text(text)
    config = load_model_config(f"{tmp_path}/")
    session = build_session(config, "cpu")
    window = 3 if text == TINY_UNLIMITED else 0
    shape = PassShape("decode", "language", batch=2, q_len=1, kv_len=40, logits=1, window=window)
    seen: list[int] = []
    session.model.lm_head.register_forward_pre_hook(lambda *_: seen.append(_caches()))
    kept = session.prepare(shape)
    before = _caches()
    kept()
    del kept
    session.prepare(shape, once=True)()
    twice, alone = seen
    assert twice > alone == before > 0


def test_a_fixed_routing_is_that_of_one_run(tmp_path: Path) -> None:
    """A CUDA graph cannot wait for the rows of each expert; after the capture they vary again."""
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    session = build_session(load_model_config(f"{tmp_path}/"), "cpu")
    run = session.prepare(PassShape("decode", "language", batch=3, q_len=1, kv_len=9, logits=1))
    mixtures = [m for m in session.model.modules() if isinstance(m, DeepseekV2MoE)]
    with session.fixed_routing(run):
        loads = [m.fixed_load for m in mixtures]
        assert [sum(load or ()) for load in loads] == [3 * m.gate.top_k for m in mixtures]
        run()
        assert [m.fixed_load for m in mixtures] == loads
    assert loads
    assert not any(m.fixed_load for m in mixtures)


def _caches() -> int:
    """Return how many tensors of keys or values there are, of several positions."""
    gc.collect()
    found = (o for o in gc.get_objects() if type(o) is torch.Tensor and o.dim() == 4)
    return sum(t.shape[0] == 2 and t.shape[2] > 1 and t.shape[3] == 16 for t in found)
