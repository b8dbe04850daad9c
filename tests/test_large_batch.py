"""A trace takes as long for a million samples as for two, and counts what a loop over them does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.static import distinct_shapes
from mkdocs_dsocr.build.trace_store import trace_model
from mkdocs_dsocr.tracing import StaticAnalyzer
from mkdocs_dsocr.tracing.memory import ActivationMemory
from tests.conftest import TINY_CONFIG, TINY_UNLIMITED

WORKLOAD = """profile_id: large
base_size: 512
image_size: 512
crop_mode: false
text_tokens: 3
max_new_tokens: 3
batch_size: {batch}
vision_batching: batched
"""


def analyses(folder: Path, config: str, batch: int) -> Any:
    (folder / "config.json").write_text(config)
    (folder / "w.yaml").write_text(WORKLOAD.format(batch=batch))
    return pipeline.analyse(pipeline.Settings(f"{folder}/", (f"{folder}/w.yaml",)))


@pytest.mark.parametrize("config", [TINY_CONFIG, TINY_UNLIMITED], ids=["deepseek", "unlimited"])
def test_a_million_samples_are_traced_and_agree(tmp_path: Path, config: str) -> None:
    found = analyses(tmp_path, config, 1_000_000)
    static = trace_model(found, "meta", lambda _: None)
    assert pipeline.complete(found, static).failures == []


def test_one_sample_counts_as_a_loop_over_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analyses(tmp_path, TINY_CONFIG, 5)
    (prefill,) = (s for s in distinct_shapes(found) if s.pass_id == "prefill")
    config = found[0][0].config
    once = StaticAnalyzer(config).count(prefill)

    def each(memory: ActivationMemory, item: list[Any], times: int) -> Iterator[list[Any]]:
        yield from ([value.clone() for value in item] for _ in range(times))

    monkeypatch.setattr(ActivationMemory, "once", each)
    looped = StaticAnalyzer(config).count(prefill)
    copies = 5  # of the image tokens, made by the test
    assert looped.dispatches["model"] - copies == once.dispatches["model"]
    assert looped.elementwise_flops == once.elementwise_flops
    assert looped.matmul_flops == once.matmul_flops
