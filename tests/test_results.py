"""What a server keeps: a trace that fails is said once, and leaves nothing to wait for."""

from __future__ import annotations

import os

import pytest

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.session import BuildSession
from mkdocs_dsocr.inputs import InputError


def test_a_trace_that_fails_leaves_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    results = BuildSession(lambda _: None)
    try:
        with pytest.raises(InputError, match="cuda"):
            results.result(pipeline.Settings(device="cuda"), uses_cache=False, may_be_stale=True)
        with results.taken() as files:
            assert files == {}
    finally:
        results.stop()
